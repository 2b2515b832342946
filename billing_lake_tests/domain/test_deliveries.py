"""Deliveries: pinned files, and identities that change exactly when content does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from billing_lake.domain.deliveries import Delivery, StoredObject, fingerprint_of_texts


def stored(key: str, etag: str = "e", size: int = 1) -> StoredObject:
    return StoredObject(
        key=key, uri=f"/r/{key}", size=size, etag=etag, modified="2025-03-04T00:00:00.000000+00:00"
    )


DELIVERY = Delivery(
    export="cur",
    period="2025-03",
    version="20250304T000000Z",
    layout="create-new",
    files=(stored("a"), stored("b", size=2)),
    manifest=stored("m"),
    columns=("lineItem/UnblendedCost",),
    ignored=("x.sql",),
)


@pytest.mark.parametrize("delivery", [DELIVERY, replace(DELIVERY, manifest=None, columns=())])
def test_a_delivery_survives_the_way_through_json(delivery: Delivery) -> None:
    assert Delivery.from_json(json.loads(json.dumps(delivery.to_json()))) == delivery


def test_the_size_of_a_delivery_is_that_of_its_report_files() -> None:
    assert DELIVERY.size == 3


@pytest.mark.parametrize(
    "other",
    [
        replace(DELIVERY, version="v2"),
        replace(DELIVERY, files=DELIVERY.files[:1]),
        replace(DELIVERY, files=DELIVERY.files[::-1]),
        replace(DELIVERY, files=(stored("a", etag="new"), DELIVERY.files[1])),
        replace(DELIVERY, files=(stored("a", size=5), DELIVERY.files[1])),
        replace(DELIVERY, manifest=stored("m", etag="new")),
        replace(DELIVERY, manifest=None),
    ],
)
def test_the_identity_changes_with_version_manifest_and_files(other: Delivery) -> None:
    assert other.identity != DELIVERY.identity


def test_the_identity_does_not_depend_on_what_lies_beside_the_delivery() -> None:
    assert replace(DELIVERY, ignored=()).identity == DELIVERY.identity


def test_a_fingerprint_knows_where_one_part_ends() -> None:
    assert fingerprint_of_texts(["ab", "c"]) != fingerprint_of_texts(["a", "bc"])
    assert fingerprint_of_texts(["ab", "c"]) == fingerprint_of_texts(iter(["ab", "c"]))
