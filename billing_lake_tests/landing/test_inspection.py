"""What an inspection finds: every export as it would be loaded, and everything else with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from billing_lake.domain.deliveries import Layout
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.registry import FORMATS
from billing_lake.landing.base import Storage
from billing_lake.landing.deliveries import find_deliveries
from billing_lake.landing.inspection import FoundExport, Inspection, inspect
from billing_lake.landing.local import LocalStorage
from billing_lake.sample import write_delivery
from billing_lake.sample.spec import CONTAINERS, SampleSpec
from billing_lake.sample.spec import FORMATS as WRITTEN
from billing_lake_tests.files.recording import recorded
from billing_lake_tests.landing import test_data_exports as data_exports
from billing_lake_tests.landing.conftest import Landing
from billing_lake_tests.landing.small_deliveries import csv_gz, deliver, put, row

SAMPLES = [(one, layout) for one in WRITTEN for layout in ("create-new", "overwrite", "loose")]


def looked(root: Path) -> Inspection:
    return inspect(LocalStorage(root))


def as_set_up(found: FoundExport) -> ExportLocation:
    """Where the component looks when it has the settings that were found."""
    settings = found.settings
    return ExportLocation(
        settings["name"],
        found.location.layout,
        settings["prefix"],
        settings.get("report", ""),
        format=FORMATS[settings["format"]],
    )


@pytest.mark.parametrize(("format_", "layout"), SAMPLES)
def test_an_export_is_found_as_it_is_set_up(tmp_path: Path, format_: str, layout: Layout) -> None:
    spec = SampleSpec(
        layout=layout, prefix="finance/aws", report="daily-costs", rows=20, format=format_
    )
    for period in ("2025-02", "2025-03"):
        write_delivery(tmp_path, period, spec)
    (found,) = looked(tmp_path).exports
    where = found.location
    assert (where.format.name, where.layout) == (format_, layout)
    assert sorted(found.findings.deliveries) == ["2025-02", "2025-03"]
    if layout != "loose":
        assert (where.name, where.prefix, where.report) == (
            "daily_costs",
            "finance/aws",
            "daily-costs",
        )
    loaded = find_deliveries(LocalStorage(tmp_path), as_set_up(found)).deliveries
    assert {period: one.identity for period, one in loaded.items()} == {
        period: one.identity for period, one in found.findings.deliveries.items()
    }


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("format_", WRITTEN)
def test_loose_files_are_found_however_they_are_packed(
    tmp_path: Path, format_: str, container: str
) -> None:
    spec = SampleSpec(
        layout="loose", prefix="mails", rows=20, format=format_, container=container, chunks=2
    )
    for period in ("2025-02", "2025-03"):
        write_delivery(tmp_path, period, spec)
    found = looked(tmp_path)
    assert [one.location.format.name for one in found.exports] == [format_]
    assert sorted(found.exports[0].findings.deliveries) == ["2025-02", "2025-03"]
    assert found.unused == ()


@pytest.mark.parametrize(
    ("first", "second", "folder"),
    [
        ("mails/2025/02/28", "mails/2025/03/01", "mails"),
        ("mails/20250201-20250228/run", "mails/20250301-20250331/run", "mails"),
        ("mails/data/BILLING_PERIOD=2025-02", "mails/data/BILLING_PERIOD=2025-03/x", "mails/data"),
        ("mails/year=2025/month=2", "mails/year=2025/month=3", "mails"),
        ("mails/a", "mails/b", None),
        ("2025-02", "2025-03", None),
    ],
)
def test_folders_of_days_and_months_are_one_export_and_others_are_not(
    tmp_path: Path, first: str, second: str, folder: str | None
) -> None:
    put(tmp_path / first / "bill.csv.gz", csv_gz([row("2025-02")]))
    put(tmp_path / second / "bill.csv.gz", csv_gz([row("2025-03")]))
    found = {
        one.location.prefix: sorted(one.findings.deliveries) for one in looked(tmp_path).exports
    }
    apart = {first: ["2025-02"], second: ["2025-03"]}
    assert found == (apart if folder is None else {folder: ["2025-02", "2025-03"]})
    put(tmp_path / "mails" / "phones" / "bill.csv.gz", csv_gz([row("2025-02", "another")]))
    beside = {one.location.prefix for one in looked(tmp_path).exports}
    assert beside == {"mails/phones", *(apart if folder in (None, "mails") else [folder])}


def test_several_formats_below_one_folder_are_told_apart_and_none_is_mixed(tmp_path: Path) -> None:
    deliver(tmp_path)
    data_exports.deliver(tmp_path)
    cur2 = csv_gz([data_exports.row("2025-01")], data_exports.HEADER)
    put(tmp_path / "mails/legacy-2025-01.csv.gz", csv_gz([row("2025-01")]))
    put(tmp_path / "mails/legacy-2025-02.csv.gz", csv_gz([row("2025-02")]))
    put(tmp_path / "mails/new-1.csv.gz", cur2)
    put(tmp_path / "mails/phones-1.csv.gz", csv_gz([["a"]], ["phone"]))
    put(tmp_path / "mails/bill.xlsx", b"PK")
    put(tmp_path / "read me.txt", b"hello")
    found = looked(tmp_path)
    told = {
        (one.location.name, one.location.format.name, one.location.prefix, one.location.report): [
            *one.findings.deliveries
        ]
        for one in found.exports
    }
    assert told == {
        ("cur", "legacy_cur", "billing", "cur"): ["2025-03"],
        ("bill", "cur2", "exports", "bill"): ["2025-03"],
        ("legacy", "legacy_cur", "mails", "legacy-*-*.csv.gz"): ["2025-01", "2025-02"],
        ("new", "cur2", "mails", "new-*.csv.gz"): ["2025-01"],
    }
    assert {key: one.why for one in found.unused for key in one.keys} == {
        "mails/phones-1.csv.gz": "Files with the header of no export that is read",
        "mails/bill.xlsx": "a workbook of Excel",
        "read me.txt": "no report file",
    }
    assert found.files == sum(path.is_file() for path in tmp_path.rglob("*"))


def test_what_stands_in_the_way_of_a_month_is_found_with_it(tmp_path: Path) -> None:
    deliver(tmp_path, "2025-01")
    deliver(tmp_path, "2025-02", assemblyId="")
    deliver(tmp_path, "2025-03")[0].unlink()
    (found,) = looked(tmp_path).exports
    findings = found.findings
    assert [*findings.deliveries] == ["2025-01"]
    assert ([*findings.broken], [*findings.waiting]) == (["2025-02"], ["2025-03"])


def test_an_export_of_a_table_without_costs_is_none_of_a_bill(tmp_path: Path) -> None:
    columns = [{"name": "recommendation_id", "type": "string"}]
    for period in ("2025-02", "2025-03"):
        data_exports.deliver(tmp_path, period=period, columns=columns)
    deliver(tmp_path)
    found = looked(tmp_path)
    assert [one.location.name for one in found.exports] == ["cur"]
    (unused,) = found.unused
    assert "Cost Optimization Hub recommendations" in unused.why
    assert unused.keys == ("exports/bill/",)
    assert "no bill" in unused.remedy


def test_a_month_that_waits_is_one_of_the_export_that_is_set_up(tmp_path: Path) -> None:
    deliver(tmp_path, "2025-01")[0].unlink()
    deliver(tmp_path, "2025-02")
    (found,) = looked(tmp_path).exports
    assert found.settings["start"] == "2025-01"


def test_two_exports_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    for payer in ("a", "b"):
        write_delivery(
            tmp_path,
            "2025-03",
            SampleSpec(layout="create-new", prefix=payer, report="2024 Costs", rows=5),
        )
    assert [(one.location.name, one.location.prefix) for one in looked(tmp_path).exports] == [
        ("export_2024_costs", "a"),
        ("export_2024_costs_2", "b"),
    ]


def test_files_that_cannot_be_read_are_named_with_the_reason(tmp_path: Path) -> None:
    put(tmp_path / "x/a.csv.gz", b"no gzip")
    put(tmp_path / "y/cur-Manifest.json", b"{}")
    found = looked(tmp_path)
    assert found.exports == ()
    reasons = {key: one.why for one in found.unused for key in one.keys}
    assert "not gzipped" in reasons["x/a.csv.gz"]
    assert reasons["y/cur-Manifest.json"] == "a manifest of an export whose layout is not known"


def test_names_that_no_settings_can_have_are_said(tmp_path: Path) -> None:
    deliver(tmp_path / "x")
    (tmp_path / "x").rename(tmp_path / "a\x07b")
    put(tmp_path / "c\x07d/a.csv.gz", csv_gz([row()]))
    found = looked(tmp_path)
    assert found.exports == ()
    assert found.unused
    assert all("no path below the bucket" in one.why for one in found.unused)


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert looked(tmp_path) == Inspection(exports=(), unused=(), files=0, size=0)


def test_a_bucket_is_listed_once_and_holds_what_its_copy_holds(
    any_landing: Landing, tmp_path: Path
) -> None:
    root = tmp_path / "copy"
    for period in ("2025-01", "2025-02", "2025-03"):
        deliver(root, period)
        data_exports.deliver(root, period=period)
    put(root / "loose/a.csv.gz", csv_gz([row()]))
    for file in root.rglob("*.*"):
        if file.is_file():
            any_landing.put(str(file.relative_to(root)), file.read_bytes())
    storage: Storage = any_landing.storage
    with recorded(any_landing.s3) as requests:
        found = inspect(storage)
    # Whole objects are manifests; whatever formats one could be of, it is read once.
    assert requests.count("GetObject") == 6
    assert requests.count("ListObjectsV2") == 1
    here = looked(root)
    assert [one.settings for one in found.exports] == [one.settings for one in here.exports]
    assert len(found.exports) == 3
    below = inspect(storage, "exports/")
    assert [one.location.prefix for one in below.exports] == ["exports"]
