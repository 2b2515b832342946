"""Deliveries of Data Exports in a folder."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import (
    BillingLakeError,
    BrokenManifestError,
    EmptyFileError,
    IncompleteDeliveryError,
    MissingColumnError,
    ReportFileError,
    UnusableFilesError,
)
from billing_lake.domain.types import DECIMAL, STRING, Map
from billing_lake.formats.chosen_columns import as_exported
from billing_lake.formats.cur2 import CUR2
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import (
    find_deliveries,
    read_source,
    resolve_delivery,
    verify_unchanged,
)
from billing_lake.landing.local import LocalStorage
from billing_lake_tests.landing.small_deliveries import csv_gz, put
from billing_lake_tests.landing.small_deliveries import row as legacy_row

BILL = ExportLocation("bill", "create-new", "exports", "bill", format=CUR2)
OVERWRITE = ExportLocation("bill", "overwrite", "exports", "bill", format=CUR2)
LOOSE = ExportLocation("bill", "loose", "exports", format=CUR2)
HEADER = (*CUR2.required, "product")


def row(period: str = "2025-03") -> tuple[str, ...]:
    start = f"{period}-01T00:00:00.000Z"
    return ("004512345678", start, "Usage", "000123456789", start, start, "1.5", "USD", '{"a":"b"}')


def deliver(
    root: Path,
    version: str = "v1",
    *,
    period: str = "2025-03",
    partition: str = "BILLING_PERIOD",
    chunks: int = 2,
    run_folder: bool = True,
    **changes: Any,
) -> list[Path]:
    """Write a delivery of the export `exports/bill` and return its report files, the manifest last."""
    tail = f"{partition}={period}"
    data = root / "exports/bill/data" / tail / (f"2025-04-03T23:48:02.356Z-{version}" * run_folder)
    files = [data / f"bill-{n:05d}.csv.gz" for n in range(1, chunks + 1)]
    for file in files:
        put(file, csv_gz([row(period)], HEADER))
    manifest = {
        "executionId": version,
        "columns": [{"name": name, "type": "string"} for name in HEADER],
        "dataFiles": [f"s3://{root.name}/{file.relative_to(root)}" for file in files],
        "additionalOutputFiles": [],
        **changes,
    }
    key = root / "exports/bill/metadata" / tail / "bill-Manifest.json"
    return [*files, put(key, json.dumps(manifest).encode())]


@pytest.fixture(name="root")
def a_root(tmp_path: Path) -> Path:
    return tmp_path / "landing"


@pytest.fixture(name="storage")
def a_storage(root: Path) -> LocalStorage:
    return LocalStorage(root)


def names(delivery: Delivery) -> list[str]:
    return [file.key.rpartition("/")[2] for file in delivery.files]


@pytest.mark.parametrize("partition", ["BILLING_PERIOD", "billing_period", "Billing_Period"])
@pytest.mark.parametrize("export", [BILL, OVERWRITE])
def test_the_newest_execution_is_the_delivery_whatever_the_case_of_the_partition(
    root: Path, storage: LocalStorage, partition: str, export: ExportLocation
) -> None:
    several = export is BILL
    deliver(root, "v1", partition=partition, chunks=3, run_folder=several)
    deliver(root, "v2", partition=partition, chunks=2, run_folder=several)
    put(root / f"exports/bill/metadata/{partition}=2025-03/bill-create-table.sql", b"create")
    put(root / "exports/bill/crawler-cfn.yml", b"x")
    delivery = resolve_delivery(storage, export, "2025-03")
    assert (delivery.version, delivery.format, delivery.columns) == ("v2", "cur2", HEADER)
    assert names(delivery) == ["bill-00001.csv.gz", "bill-00002.csv.gz"]
    ignored = {key.rpartition("/")[2] for key in delivery.ignored}
    assert ignored == {"bill-create-table.sql", *([] if several else ["bill-00003.csv.gz"])}
    verify_unchanged(storage, export, delivery)
    assert {*find_deliveries(storage, export).deliveries} == {"2025-03"}


def test_chunks_of_headers_alone_or_of_nothing_at_all_are_chunks_without_rows(
    root: Path, storage: LocalStorage
) -> None:
    first, second, third, *_ = deliver(root, chunks=3)
    second.write_bytes(csv_gz([], HEADER))
    third.write_bytes(gzip.compress(b""))
    source, _ = read_source(storage, resolve_delivery(storage, BILL, "2025-03"))
    assert [file.uri for file in source.files] == [str(first), str(second)]
    assert source.type_of("line_item_unblended_cost") == DECIMAL
    assert source.type_of("product") == Map(STRING, STRING)


def test_a_delivery_of_empty_chunks_alone_has_no_columns_and_is_refused(
    root: Path, storage: LocalStorage
) -> None:
    only, _ = deliver(root, chunks=1)
    only.write_bytes(gzip.compress(b""))
    with pytest.raises(EmptyFileError):
        read_source(storage, resolve_delivery(storage, BILL, "2025-03"))


def test_data_without_its_manifest_waits_for_it(root: Path, storage: LocalStorage) -> None:
    *_, manifest = deliver(root)
    manifest.unlink()
    with pytest.raises(IncompleteDeliveryError, match=r"2 report files .*no manifest"):
        resolve_delivery(storage, BILL, "2025-03")


def test_two_manifests_of_a_period_are_named(root: Path, storage: LocalStorage) -> None:
    deliver(root)
    deliver(root, partition="billing_period")
    with pytest.raises(UnusableFilesError, match="2 manifests commit a delivery of 2025-03"):
        resolve_delivery(storage, BILL, "2025-03")


def other_table(root: Path) -> None:
    deliver(root, columns=[{"name": "BilledCost", "type": "double"}])


def no_files(root: Path) -> None:
    deliver(root, dataFiles=[])


@pytest.mark.parametrize("fill", [other_table, no_files])
def test_a_manifest_that_cannot_be_used_breaks_its_period_alone(
    root: Path, storage: LocalStorage, fill: Any
) -> None:
    deliver(root, period="2025-02")
    fill(root)
    findings = find_deliveries(storage, BILL)
    assert ({*findings.deliveries}, {*findings.broken}) == ({"2025-02"}, {"2025-03"})
    with pytest.raises(BrokenManifestError):
        resolve_delivery(storage, BILL, "2025-03")


def test_loose_files_of_cur_2_are_read_and_those_of_the_other_format_refused(
    root: Path, storage: LocalStorage
) -> None:
    put(root / "exports/a.csv.gz", csv_gz([row()], HEADER))
    source, _ = read_source(storage, resolve_delivery(storage, LOOSE, "2025-03"))
    assert source.columns == CUR2.columns(HEADER)
    legacy = ExportLocation("bill", "loose", "exports")
    with pytest.raises(ReportFileError, match=r"another kind: cur2.*`format: cur2`"):
        read_source(storage, resolve_delivery(storage, legacy, "2025-03"))
    put(root / "exports/a.csv.gz", csv_gz([legacy_row()]))
    with pytest.raises(BillingLakeError, match=r"another kind: legacy_cur.*`format: legacy_cur`"):
        read_source(storage, resolve_delivery(storage, LOOSE, "2025-03"))


def test_an_export_that_renamed_required_columns_is_read_once_its_settings_say_so(
    root: Path, storage: LocalStorage
) -> None:
    header = [
        {"line_item_unblended_cost": "Cost", CUR2.required[1]: "Month"}.get(n, n) for n in HEADER
    ]
    put(root / "exports/a.csv.gz", csv_gz([row()], header))
    with pytest.raises(UnusableFilesError, match="no column that states its billing period"):
        resolve_delivery(storage, LOOSE, "2025-03")
    format_ = as_exported(CUR2, {"Month": "period_start"})
    half = ExportLocation("bill", "loose", "exports", format=format_)
    with pytest.raises(MissingColumnError, match=r"line_item_unblended_cost \(cost\)"):
        read_source(storage, resolve_delivery(storage, half, "2025-03"), format_)
    format_ = as_exported(CUR2, {"Month": "period_start", "Cost": "cost"})
    whole = ExportLocation("bill", "loose", "exports", format=format_)
    source, _ = read_source(storage, resolve_delivery(storage, whole, "2025-03"), format_)
    assert source.columns == CUR2.columns(HEADER)
    assert "line_item_unblended_cost" in source.costs


def test_chunks_may_have_their_columns_in_another_order_and_may_not_lack_a_promised_one(
    root: Path, storage: LocalStorage
) -> None:
    first, second, _ = deliver(root)
    put(second, csv_gz([row()[::-1]], HEADER[::-1]))
    source, _ = read_source(storage, resolve_delivery(storage, BILL, "2025-03"))
    assert [one.columns for one in source.files] == [HEADER, HEADER[::-1]]
    assert {*source.columns} == {*CUR2.columns(HEADER)}
    put(first, csv_gz([row()[:-1]], HEADER[:-1]))
    with pytest.raises(ReportFileError, match="product") as caught:
        read_source(storage, resolve_delivery(storage, BILL, "2025-03"))
    assert first.name in str(caught.value)


def test_an_export_whose_sql_left_out_a_column_that_is_needed_is_told_column_and_role(
    root: Path, storage: LocalStorage
) -> None:
    left_out = "line_item_currency_code"
    place = HEADER.index(left_out)
    header = HEADER[:place] + HEADER[place + 1 :]
    *files, _ = deliver(root, columns=[{"name": name, "type": "string"} for name in header])
    for file in files:
        put(file, csv_gz([row()[:place] + row()[place + 1 :]], header))
    with pytest.raises(MissingColumnError, match=rf"{left_out} \(currency\)") as caught:
        read_source(storage, resolve_delivery(storage, BILL, "2025-03"))
    assert files[0].name in str(caught.value)
    assert caught.value.how
