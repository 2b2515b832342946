"""Report files of every container in every layout: found, dated by their rows or folders, with the columns of their headers."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from billing_lake.domain import errors
from billing_lake.domain.packing import Compression
from billing_lake.domain.sources import Container
from billing_lake.domain.types import STRING, Map
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.registry import format_named
from billing_lake.landing.deliveries import find_deliveries, read_source, resolve_delivery
from billing_lake.landing.local import LocalStorage
from billing_lake_tests.landing.small_deliveries import HEADER, csv_gz, put, row

LOOSE = ExportLocation("cur", "loose", "billing")
ATHENA = ExportLocation("cur", "athena", "billing", "cur")
NAMES = (
    "identity_line_item_id",
    "bill_billing_period_start_date",
    "line_item_usage_start_date",
    "line_item_currency_code",
    "line_item_unblended_cost",
)
MARCH = datetime(2025, 3, 1, tzinfo=timezone.utc)
TABLE = pa.table(
    {
        "identity_line_item_id": ["i", "j"],
        "bill_billing_period_start_date": pa.array([MARCH] * 2, pa.timestamp("ms")),
        "line_item_usage_start_date": pa.array([MARCH] * 2, pa.timestamp("ms")),
        "line_item_currency_code": ["USD", "USD"],
        "line_item_unblended_cost": [0.5, 1.5],
    }
)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "landing")


def plain_csv() -> bytes:
    return "".join(",".join(cells) + "\n" for cells in (HEADER, row())).encode()


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cur.csv", plain_csv())
    return packed.getvalue()


def parquet(table: pa.Table = TABLE, **settings: Any) -> bytes:
    packed = io.BytesIO()
    pq.write_table(table, packed, **settings)
    return packed.getvalue()


def without_rows() -> bytes:
    return parquet(TABLE.slice(0, 0))


@pytest.mark.parametrize(
    ("name", "data", "container", "compression"),
    [
        ("march.csv.gz", lambda: csv_gz([row()]), "csv", "gzip"),
        ("march.csv.zip", zipped, "csv", "zip"),
        ("MARCH.ZIP", zipped, "csv", "zip"),
        ("march.csv", plain_csv, "csv", None),
        ("march.snappy.parquet", parquet, "parquet", None),
        (
            "march.parquet",
            lambda: parquet(use_deprecated_int96_timestamps=True),
            "parquet",
            None,
        ),
    ],
)
def test_a_loose_file_of_every_container_says_its_month_and_its_columns(
    storage: LocalStorage,
    name: str,
    data: Callable[[], bytes],
    container: Container,
    compression: Compression,
) -> None:
    put(storage.root / "billing" / name, data())
    source, _ = read_source(storage, resolve_delivery(storage, LOOSE, "2025-03"))
    assert (source.container, source.compression) == (container, compression)
    assert [one.columns for one in source.files] == [NAMES]
    assert [one.name for one in source.columns] == [*NAMES]


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([MARCH] * 2, pa.timestamp("ns", "UTC")),
        pa.array([MARCH] * 2, pa.timestamp("us")),
        pa.array([MARCH.date()] * 2),
        pa.array(["2025-03-01T00:00:00.000Z"] * 2),
    ],
)
def test_a_parquet_file_states_its_month_in_whatever_type(
    storage: LocalStorage, cells: pa.Array
) -> None:
    table = TABLE.set_column(1, "bill_billing_period_start_date", cells)
    put(storage.root / "billing/march.parquet", parquet(table))
    assert [*find_deliveries(storage, LOOSE).deliveries] == ["2025-03"]


def test_files_that_are_packed_in_two_ways_are_not_mixed(storage: LocalStorage) -> None:
    put(storage.root / "billing/a.csv", plain_csv())
    put(storage.root / "billing/b.csv.gz", csv_gz([row(line_item="j")]))
    delivery = resolve_delivery(storage, LOOSE, "2025-03")
    with pytest.raises(errors.UnusableFilesError, match=r"several ways: .*a\.csv and .*b\.csv\.gz"):
        read_source(storage, delivery)


def wide() -> bytes:
    return parquet(pa.table({f"c{number}": [1] for number in range(10_000)}))


def nested() -> bytes:
    return parquet(TABLE.append_column("product", pa.array([{"a": {"b": 1}}] * 2)))


def list_of_texts() -> bytes:
    return parquet(TABLE.append_column("product", pa.array([["a"], ["b"]])))


def unknown_map() -> bytes:
    cells = pa.array([[("a", "b")]] * 2, pa.map_(pa.string(), pa.string()))
    return parquet(TABLE.append_column("somebodys", cells))


def twice() -> bytes:
    return parquet(TABLE.append_column("lineItem/UnblendedCost", pa.array([1.0, 2.0])))


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (lambda: b"", errors.IncompleteDeliveryError, "no bytes"),
        (lambda: b"a,b\n", errors.UnusableFilesError, "is no Parquet"),
        (lambda: parquet()[:-6], errors.IncompleteDeliveryError, "damaged or ends early"),
        (
            lambda: parquet()[:-8] + b"\xff\xff\xff\x7fPAR1",
            errors.IncompleteDeliveryError,
            "damaged or ends early",
        ),
        (nested, errors.UnusableFilesError, "nested type struct<a: struct<b: int64>>"),
        (list_of_texts, errors.UnusableFilesError, "nested type list<"),
        (unknown_map, errors.UnusableFilesError, "nested type map<string, string"),
        (wide, errors.UnusableFilesError, "at most 5,000 columns"),
        (twice, errors.UnusableFilesError, "Two columns have one name"),
        (without_rows, errors.UnusableFilesError, "has no rows"),
        (
            lambda: parquet(TABLE.drop_columns(["bill_billing_period_start_date"])),
            errors.UnusableFilesError,
            "no column that states its billing period",
        ),
    ],
)
def test_a_parquet_file_that_cannot_be_loaded_is_named(
    storage: LocalStorage, data: Callable[[], bytes], error: type[Exception], says: str
) -> None:
    put(storage.root / "billing/bad.parquet", data())
    with pytest.raises(error, match=says) as caught:
        resolve_delivery(storage, LOOSE, "2025-03")
    assert "billing/bad.parquet" in str(caught.value)


FOCUS = ExportLocation("focus", "loose", "billing", format=format_named("focus"))
COSTS = pa.table(
    {
        "BillingPeriodStart": pa.array([MARCH] * 2, pa.timestamp("us", "UTC")),
        "ChargePeriodStart": pa.array([MARCH] * 2, pa.timestamp("us", "UTC")),
        "BillingCurrency": ["USD", "USD"],
        "BilledCost": [0.5, 1.5],
    }
)
PAIR = {"key": "a", "value": "b"}


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("x_Credits", [{"Name": "a", "Amount": 1.5}]),
        ("x_Labels", [PAIR]),
        ("x_Names", ["a", None]),
        ("x_Project", {"Id": "a", "Parents": [{"Name": "b"}]}),
        ("ContractApplied", {"Elements": [{"ContractId": "c"}]}),
        ("Tags", [PAIR]),
    ],
)
def test_a_nested_column_that_a_provider_adds_to_focus_is_a_column(
    storage: LocalStorage, name: str, cell: object
) -> None:
    put(
        storage.root / "billing/f.parquet", parquet(COSTS.append_column(name, pa.array([cell] * 2)))
    )
    delivery = resolve_delivery(storage, FOCUS, "2025-03")
    source, _ = read_source(storage, delivery, FOCUS.format)
    assert source.type_of(name.lower()) == (Map(STRING, STRING) if name == "Tags" else STRING)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("ServiceName", pa.array([{"a": "b"}] * 2)),
        ("EffectiveCost", pa.array([[1.5]] * 2)),
        ("Tags", pa.array([{"a": "b"}] * 2)),
        ("Tags", pa.array([[{**PAIR, "inherited": True}]] * 2)),
        ("x_Bytes", pa.array([[b"a"]] * 2)),
        ("x_Moments", pa.array([[0]] * 2, pa.list_(pa.timestamp("ns")))),
    ],
)
def test_a_nested_column_whose_values_nobody_could_tell_is_refused_in_focus(
    storage: LocalStorage, name: str, cells: pa.Array
) -> None:
    put(storage.root / "billing/f.parquet", parquet(COSTS.append_column(name, cells)))
    with pytest.raises(errors.UnusableFilesError, match=rf"{name}.*TO_JSON_STRING|TO_JSON_STRING"):
        resolve_delivery(storage, FOCUS, "2025-03")


def athena(root: Path, month: str = "month=3", **changes: Any) -> Path:
    """Write a delivery of a report with the integration for Athena; return its manifest."""
    folder = root / "billing/cur/cur/year=2025" / month
    file = put(folder / "cur-00001.snappy.parquet", parquet())
    content = {
        "assemblyId": "v1",
        "bucket": root.name,
        "compression": "Parquet",
        "contentType": "Parquet",
        "billingPeriod": {"start": "20250301T000000.000Z", "end": "20250401T000000.000Z"},
        "reportKeys": [str(file.relative_to(root))],
        **changes,
    }
    return put(folder / "cur-Manifest.json", json.dumps(content).encode())


@pytest.mark.parametrize("month", ["month=3", "month=03"])
def test_a_report_for_athena_is_found_by_its_partition_with_or_without_a_zero(
    storage: LocalStorage, month: str
) -> None:
    athena(storage.root, month)
    put(storage.root / "billing/cur/cur/cost_and_usage_data_status/s.parquet", b"x")
    put(storage.root / "billing/cur/cur/crawler-cfn.yml", b"x")
    found = find_deliveries(storage, ATHENA)
    assert ([*found.deliveries], found.notes) == (["2025-03"], ())
    delivery = resolve_delivery(storage, ATHENA, "2025-03")
    assert delivery.layout == "athena"
    source, _ = read_source(storage, delivery)
    assert source.container == "parquet"
    assert not delivery.is_committed


def test_two_partitions_of_one_month_are_refused(storage: LocalStorage) -> None:
    athena(storage.root, "month=3")
    athena(storage.root, "month=03")
    with pytest.raises(errors.UnusableFilesError, match="2 manifests commit a delivery of 2025-03"):
        resolve_delivery(storage, ATHENA, "2025-03")


def test_a_manifest_whose_files_are_packed_otherwise_is_refused(storage: LocalStorage) -> None:
    athena(storage.root, compression="ZIP")
    with pytest.raises(errors.BrokenManifestError, match=r"ZIP, and it lists .* otherwise"):
        resolve_delivery(storage, ATHENA, "2025-03")


def test_a_column_that_the_manifest_promises_and_the_parquet_lacks_is_named(
    storage: LocalStorage,
) -> None:
    columns = [{"category": "line_item", "name": "line_item_blended_cost"}]
    athena(storage.root, columns=columns)
    delivery = resolve_delivery(storage, ATHENA, "2025-03")
    with pytest.raises(errors.BadHeaderError, match=re.escape("manifest promises")) as caught:
        read_source(storage, delivery)
    assert "cur-00001.snappy.parquet" in str(caught.value)
