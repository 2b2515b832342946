"""Loose files: all of a period, or nothing, and the file that stands in the way by name."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from billing_lake.domain.deliveries import Delivery, Findings
from billing_lake.domain.errors import (
    BillingLakeError,
    DeliveryChangedError,
    IncompleteDeliveryError,
    NoDeliveryError,
    SameFilesError,
    UnusableFilesError,
    WrongLayoutError,
)
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import find_deliveries, resolve_delivery, verify_unchanged
from billing_lake.landing.local import LocalStorage
from billing_lake_tests.landing.small_deliveries import HEADER, csv_gz, deliver, put, row

LOOSE = ExportLocation("cur", "loose", "billing")
GOOD = csv_gz([row()])


@pytest.fixture(name="root")
def a_root(tmp_path: Path) -> Path:
    return tmp_path / "landing"


@pytest.fixture(name="storage")
def a_storage(root: Path) -> LocalStorage:
    return LocalStorage(root)


def keys(delivery: Delivery) -> list[str]:
    return [file.key for file in delivery.files]


def refused(storage: LocalStorage, period: str = "2025-03") -> BillingLakeError:
    with pytest.raises(BillingLakeError) as caught:
        resolve_delivery(storage, LOOSE, period)
    return caught.value


def test_the_loose_files_of_a_period_are_its_delivery_at_any_depth(
    root: Path, storage: LocalStorage
) -> None:
    for name, period in (("b", "2025-03"), ("sub/a", "2025-03"), ("c", "2025-04")):
        put(root / f"billing/{name}.csv.gz", csv_gz([row(period, name)]))
    put(root / "billing/readme.txt", b"x")
    put(root / "billing/cost_and_usage_data_status/s.csv.gz", b"x")
    put(root / "other/d.csv.gz", GOOD)
    found = find_deliveries(storage, LOOSE).deliveries
    assert {period: keys(delivery) for period, delivery in found.items()} == {
        "2025-03": ["billing/b.csv.gz", "billing/sub/a.csv.gz"],
        "2025-04": ["billing/c.csv.gz"],
    }
    assert found["2025-03"].manifest is None
    assert found["2025-03"].version.startswith("loose-")
    assert found["2025-03"].ignored == (
        "billing/cost_and_usage_data_status/s.csv.gz",
        "billing/readme.txt",
    )
    assert resolve_delivery(storage, LOOSE, "2025-04").period == "2025-04"
    assert isinstance(refused(storage, "2025-05"), NoDeliveryError)


def test_the_version_of_loose_files_follows_their_content(
    root: Path, storage: LocalStorage
) -> None:
    path = put(root / "billing/a.csv.gz", GOOD)
    first = resolve_delivery(storage, LOOSE, "2025-03")
    assert resolve_delivery(storage, LOOSE, "2025-03") == first
    path.write_bytes(csv_gz([row(), row()]))
    second = resolve_delivery(storage, LOOSE, "2025-03")
    put(root / "billing/b.csv.gz", GOOD)
    third = resolve_delivery(storage, LOOSE, "2025-03")
    assert len({d.version for d in (first, second, third)}) == 3


def test_a_loose_file_that_is_added_is_noticed(root: Path, storage: LocalStorage) -> None:
    put(root / "billing/a.csv.gz", GOOD)
    delivery = resolve_delivery(storage, LOOSE, "2025-03")
    put(root / "billing/b.csv.gz", csv_gz([row(line_item="j")]))
    with pytest.raises(DeliveryChangedError, match=r"b\.csv\.gz"):
        verify_unchanged(storage, LOOSE, delivery)


@pytest.mark.parametrize("place", ["landing/elsewhere", "outside"])
def test_a_linked_folder_could_hold_files_of_any_month_and_nothing_is_loaded_without_it(
    root: Path, storage: LocalStorage, place: str
) -> None:
    put(root / "billing/good.csv.gz", GOOD)
    (root / "billing/same").symlink_to(root / "billing")
    assert keys(resolve_delivery(storage, LOOSE, "2025-03")) == ["billing/good.csv.gz"]
    more = put(root.parent / place / "more.csv.gz", csv_gz([row(line_item="j")]))
    (root / "billing/linked").symlink_to(more.parent)
    error = refused(storage)
    assert isinstance(error, UnusableFilesError)
    assert error.file == "billing/linked/"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no bytes"),
        (GOOD[:30], "gzip stream is damaged"),
        (gzip.compress(b""), "no header"),
    ],
)
def test_a_file_that_has_not_arrived_yet_could_belong_to_any_month_and_all_wait(
    root: Path, storage: LocalStorage, data: bytes, reason: str
) -> None:
    put(root / "billing/good.csv.gz", GOOD)
    arriving = put(root / "billing/new.csv.gz", data)
    findings = find_deliveries(storage, LOOSE)
    assert findings == Findings(waiting=findings.waiting)
    assert [*findings.waiting] == ["2025-03"]
    assert re.search(rf"billing/new\.csv\.gz.*{reason}", findings.waiting["2025-03"])
    for period in ("2025-03", "2025-04"):
        error = refused(storage, period)
        assert isinstance(error, IncompleteDeliveryError)
        assert error.file == "billing/new.csv.gz"
        assert reason in error.what
    arriving.write_bytes(csv_gz([row("2025-04")]))
    assert [*find_deliveries(storage, LOOSE).deliveries] == ["2025-03", "2025-04"]


NO_PERIOD = csv_gz([("i", "", "2025-03-02T00:00:00Z", "USD", "1")])
FOCUS = csv_gz([["1"] * 3], ("BilledCost", "ChargeCategory", "BillingPeriodStart"))


@pytest.mark.parametrize(
    ("name", "data", "reason", "remedy"),
    [
        ("x.csv.gz", b"a,b\n", "is not gzipped", ""),
        ("x.csv.gz", csv_gz([]), "no rows", "Remove it"),
        ("x.csv.gz", NO_PERIOD, "first row states no billing period", ""),
        ("x.csv.gz", csv_gz([["1"]], ["a"]), "no column that states its billing period", ""),
        ("x.csv.gz", FOCUS, "another kind: focus", "Set `report` to a pattern"),
        ("x.csv", b"a,b\n", "no column that states its billing period", ""),
        ("x.csv", GOOD, "The file is gzip, although its name says plain CSV", ".csv.gz"),
        ("x.csv.zip", b"PK", "is no ZIP; it begins with the bytes 50 4b", ""),
        ("x.snappy.parquet", b"a,b\n", "is no Parquet; it begins with the bytes", ""),
        ("x.csv.zst", b"", "compressed in another way", "Compress it with gzip"),
    ],
)
def test_a_file_that_cannot_be_used_blocks_every_month_and_run_and_look_say_which_and_why(
    root: Path, storage: LocalStorage, name: str, data: bytes, reason: str, remedy: str
) -> None:
    put(root / "billing/good.csv.gz", GOOD)
    bad = put(root / "billing" / name, data)
    findings = find_deliveries(storage, LOOSE)
    assert findings == Findings(broken=findings.broken)
    assert [*findings.broken] == ["2025-03"]
    for period in ("2025-03", "2025-04"):
        error = refused(storage, period)
        assert isinstance(error, UnusableFilesError)
        assert error.file == f"billing/{name}"
        assert reason in error.what
        assert remedy in error.how
        assert "move it out of the export's folder" in error.how
        assert "Have the provider deliver" not in error.how
    assert findings.broken["2025-03"] == str(refused(storage))
    bad.unlink()
    assert [*find_deliveries(storage, LOOSE).deliveries] == ["2025-03"]


def test_the_format_is_changed_only_where_no_file_has_it(root: Path, storage: LocalStorage) -> None:
    put(root / "billing/x.csv.gz", FOCUS)
    assert "Set `format: focus`" in refused(storage).how
    put(root / "billing/good.csv.gz", GOOD)
    assert "Set `format" not in refused(storage).how


def test_files_of_unread_kinds_alone_are_named_with_their_kinds(
    root: Path, storage: LocalStorage
) -> None:
    put(root / "billing/bill.csv.xz", b"a")
    put(root / "billing/bill.xlsx", b"a")
    findings = find_deliveries(storage, LOOSE)
    assert [*findings.broken] == ["billing/bill.csv.xz", "billing/bill.xlsx"]
    assert "CSV compressed in another way" in str(refused(storage))
    assert "bill.xlsx: This is a workbook of Excel" in str(refused(storage))
    assert len(findings.notes) == 1


def test_several_unusable_files_are_named_with_the_line_of_each(
    root: Path, storage: LocalStorage
) -> None:
    put(root / "billing/a.csv.gz", b"")
    for name in "bcde":
        put(root / f"billing/{name}.csv.gz", NO_PERIOD)
    error = refused(storage)
    assert isinstance(error, UnusableFilesError), (
        "one that is broken does not get better by waiting"
    )
    assert "billing/a.csv.gz: The file has no bytes; billing/b.csv.gz, line 2: " in error.what
    assert error.what.endswith("; and 2 more")


def legacy(root: Path) -> None:
    deliver(root, version="v1")
    deliver(root, version="v2")


def data_exports(root: Path) -> None:
    put(root / "billing/cur2/metadata/BILLING_PERIOD=2025-03/cur2-Manifest.json", b"{}")
    put(root / "billing/cur2/data/BILLING_PERIOD=2025-03/cur2-00001.csv.gz", GOOD)


def athena(root: Path) -> None:
    put(root / "billing/cur/cur/year=2025/month=3/cur-Manifest.json", b"{}")
    put(root / "billing/cur/cur/year=2025/month=3/cur-00001.snappy.parquet", b"PAR1")


@pytest.mark.parametrize(
    ("tree", "what", "remedy"),
    [
        (legacy, "a legacy CUR", r"`layout: create-new` .*`prefix: 'billing'` and `report: 'cur'`"),
        (data_exports, "AWS Data Exports", "`format: cur2`.*`report: 'cur2'`"),
        (athena, "legacy CUR in Parquet for Athena", "`layout: athena`"),
    ],
)
def test_a_manifest_below_a_loose_folder_stops_every_month_and_names_what_fits(
    root: Path, storage: LocalStorage, tree: Callable[[Path], None], what: str, remedy: str
) -> None:
    tree(root)
    findings = find_deliveries(storage, LOOSE)
    assert findings == Findings(broken=findings.broken)
    error = refused(storage)
    assert isinstance(error, WrongLayoutError)
    assert re.search(what, error.what)
    assert re.search(remedy, error.how)
    assert "Manifest.json" in str(error.file)


@pytest.mark.parametrize("folder", ["20250301-20250401", "data/BILLING_PERIOD=2025-03"])
def test_several_deliveries_of_a_month_are_not_added_up_where_their_manifests_are_missing(
    root: Path, storage: LocalStorage, folder: str
) -> None:
    put(root / f"billing/{folder}/v1/a.csv.gz", GOOD)
    assert [*find_deliveries(storage, LOOSE).deliveries] == ["2025-03"]
    put(root / f"billing/{folder}/v2/a.csv.gz", csv_gz([row(line_item="j")]))
    error = refused(storage)
    assert isinstance(error, WrongLayoutError)
    assert error.file == f"billing/{folder}"
    assert "v1, v2" in error.what


def test_the_same_file_twice_stops_its_month_alone_and_both_are_named(
    root: Path, storage: LocalStorage
) -> None:
    put(root / "billing/bill.csv.gz", GOOD)
    put(root / "billing/sub/bill (1).csv.gz", GOOD)
    put(root / "billing/april.csv.gz", csv_gz([row("2025-04")]))
    findings = find_deliveries(storage, LOOSE)
    assert ([*findings.deliveries], [*findings.broken]) == (["2025-04"], ["2025-03"])
    error = refused(storage)
    assert isinstance(error, SameFilesError)
    assert "billing/bill.csv.gz and billing/sub/bill (1).csv.gz" in error.what


def test_a_second_name_of_a_file_is_the_same_file_twice(root: Path, storage: LocalStorage) -> None:
    path = put(root / "billing/a.csv.gz", GOOD)
    os.link(path, root / "billing/b.csv.gz")
    assert isinstance(refused(storage), SameFilesError)


class Watched(LocalStorage):
    """A folder that remembers which files were opened."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.opened: list[str] = []

    def open(self, key: str) -> BinaryIO:
        self.opened.append(key)
        return super().open(key)


def test_files_of_one_size_are_told_apart_by_their_ends_and_are_not_read_whole(root: Path) -> None:
    for name in "ab":
        put(root / f"billing/{name}.csv.gz", csv_gz([row(line_item=name)]))
    put(root / "billing/c.csv.gz", csv_gz([row(), row(line_item="x")]))
    storage = Watched(root)
    assert [*find_deliveries(storage, LOOSE).deliveries] == ["2025-03"]
    same_size = ["billing/a.csv.gz", "billing/b.csv.gz"]
    assert sorted(storage.opened) == sorted([*same_size, "billing/c.csv.gz", *same_size])


def test_a_loose_file_is_opened_once_until_it_changes(root: Path) -> None:
    path = put(root / "billing/a.csv.gz", GOOD)
    storage = Watched(root)
    for _ in range(3):
        find_deliveries(storage, LOOSE)
    assert len(storage.opened) == 1
    path.write_bytes(csv_gz([row("2025-04")]))
    assert [*find_deliveries(storage, LOOSE).deliveries] == ["2025-04"]
    assert len(storage.opened) == 2


def test_a_month_that_cannot_be_opened_any_more_is_not_taken_from_a_load_at_work(
    root: Path, storage: LocalStorage
) -> None:
    put(root / "billing/a.csv.gz", GOOD)
    delivery = resolve_delivery(storage, LOOSE, "2025-03")
    put(root / "billing/b.csv.gz", b"")
    with pytest.raises(DeliveryChangedError, match=r"b\.csv\.gz"):
        verify_unchanged(storage, LOOSE, delivery)


def test_a_header_is_not_enough_to_be_focus(root: Path, storage: LocalStorage) -> None:
    put(root / "billing/a.csv.gz", csv_gz([["1", "2"]], ("BilledCost", "other")))
    assert "another kind" not in str(refused(storage))
    put(root / "billing/a.csv.gz", csv_gz([row()], HEADER))
    assert [*find_deliveries(storage, LOOSE).deliveries] == ["2025-03"]
