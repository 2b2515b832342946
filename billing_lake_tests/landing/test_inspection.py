"""What an inspection finds: every export as it would be loaded, and everything else with a reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_lake.domain.deliveries import Layout
from billing_lake.formats.layouts import Loose
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.registry import FORMATS
from billing_lake.landing.base import Storage
from billing_lake.landing.deliveries import find_deliveries
from billing_lake.landing.found_exports import FoundExport, Inspection
from billing_lake.landing.inspection import inspect
from billing_lake.landing.local import LocalStorage
from billing_lake.sample import write_delivery
from billing_lake.sample.spec import CONTAINERS, SampleSpec
from billing_lake.sample.spec import SAMPLE_FORMATS as WRITTEN
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
        "mails/phones-1.csv.gz": "not a billing report (unknown header)",
        "mails/bill.xlsx": "a workbook of Excel",
        "read me.txt": "not a report file",
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


FOCUS = ("BillingPeriodStart", "ChargePeriodStart", "BillingCurrency", "BilledCost")


def focus(period: str = "2025-03") -> bytes:
    return csv_gz([(f"{period}-01", f"{period}-02", "USD", "1")], FOCUS)


def files_of(found: Inspection) -> dict[str, list[str]]:
    """The files of each export, each in one export alone."""
    files = {
        one.location.name: sorted(
            {file.key for each in one.findings.deliveries.values() for file in each.files}
        )
        for one in found.exports
    }
    keys = [key for keys in files.values() for key in keys]
    assert len(keys) == len(set(keys))
    return files


def reasons_of(found: Inspection) -> dict[str, str]:
    return {key: one.why for one in found.unused for key in one.keys}


def faults_of(found: Inspection) -> set[str]:
    return {key for one in found.unused if one.is_fault for key in one.keys}


@given(
    st.dictionaries(
        st.tuples(
            st.sampled_from(("", "a/", "a/b/", "a/2025/03/", "c/")),
            st.sampled_from(("x-1", "x-2", "x-2-y-1", "y-1", "x[1]")),
        ),
        st.sampled_from(("legacy_cur", "focus", "foreign", "cut")),
        max_size=8,
    )
)
@settings(max_examples=40)
def test_each_file_is_in_one_export_or_is_named(files: dict[tuple[str, str], str]) -> None:
    contents = {
        "legacy_cur": csv_gz([row()]),
        "focus": focus(),
        "foreign": csv_gz([["1"]], ["phone"]),
        "cut": b"",
    }
    with TemporaryDirectory() as root:
        keys = {f"{folder}{name}.csv.gz": kind for (folder, name), kind in files.items()}
        for number, (key, kind) in enumerate(keys.items()):
            line = csv_gz([row("2025-03", str(number))])
            put(Path(root) / key, line if kind == "legacy_cur" else contents[kind])
        found = looked(Path(root))
    taken = {key: one for one in found.exports for key in _takes(one, keys)}
    assert sum(len(_takes(one, keys)) for one in found.exports) == len(taken)
    assert {*keys} == {*taken, *reasons_of(found)}
    for key, one in taken.items():
        # Files whose names differ in numbers alone are one export, which has no delivery where one of them is of another format.
        assert keys[key] == one.location.format.name or not one.findings.deliveries
    assert {key for key, kind in keys.items() if kind != "foreign"} <= {*taken, *faults_of(found)}


def _takes(one: FoundExport, keys: Iterable[str]) -> list[str]:
    rules = one.location.rules
    assert isinstance(rules, Loose)
    return [key for key in keys if key.startswith(rules.folder) and rules.takes(key)]


def test_files_in_a_folder_and_below_it_are_one_export(tmp_path: Path) -> None:
    for number, folder in enumerate(("", "sub", "sub/archive", "zoo")):
        put(tmp_path / folder / "one-1.csv.gz", csv_gz([row("2025-03", str(number))]))
    found = looked(tmp_path)
    assert files_of(found) == {
        "bill": [f"{folder}one-1.csv.gz" for folder in ("", "sub/archive/", "sub/", "zoo/")]
    }
    assert found.exports[0].findings.broken == {}


def test_a_folder_of_another_format_below_files_is_an_export_of_its_own(tmp_path: Path) -> None:
    put(tmp_path / "x/legacy-1.csv.gz", csv_gz([row()]))
    put(tmp_path / "x/focus/bill-1.csv.gz", focus())
    deliver(tmp_path / "x")
    found = looked(tmp_path)
    assert files_of(found) == {
        "cur": [f"x/billing/cur/20250301-20250401/v1/cur-0000{n}.csv.gz" for n in (1, 2)],
        "focus": ["x/focus/bill-1.csv.gz"],
        "legacy": ["x/legacy-1.csv.gz"],
    }
    assert not any(one.findings.broken for one in found.exports)
    assert found.unused == ()


@pytest.mark.parametrize("inner", ["focus", "manifests"])
def test_files_that_no_name_tells_from_those_of_another_export_below_are_refused(
    tmp_path: Path, inner: str
) -> None:
    put(tmp_path / "x/cur-00007.csv.gz", csv_gz([row()]))
    if inner == "focus":
        put(tmp_path / "x/focus/cur-1.csv.gz", focus())
    else:
        deliver(tmp_path / "x")
    found = looked(tmp_path)
    assert len(found.exports) == 1
    assert "x/cur-00007.csv.gz" not in str(files_of(found))
    assert faults_of(found) == {"x/cur-00007.csv.gz"}
    assert "of another format or export" in reasons_of(found)["x/cur-00007.csv.gz"]


def test_a_pattern_that_takes_the_names_of_another_one_is_that_of_both(tmp_path: Path) -> None:
    put(tmp_path / "accounts.csv", b"account,owner\n1,me\n")
    put(tmp_path / "cur-1.csv.gz", csv_gz([row("2025-03", "a")]))
    put(tmp_path / "cur-2-late-3.csv.gz", csv_gz([row("2025-03", "b")]))
    found = looked(tmp_path)
    assert files_of(found) == {"cur": ["cur-1.csv.gz", "cur-2-late-3.csv.gz"]}
    put(tmp_path / "cur-2-late-3.csv.gz", focus())
    found = looked(tmp_path)
    assert files_of(found) == {"cur_late": ["cur-2-late-3.csv.gz"]}
    assert faults_of(found) == {"cur-1.csv.gz"}


@pytest.mark.parametrize("cut", [b"", csv_gz([row()])[:30]])
@pytest.mark.parametrize("beside", [False, True])
def test_a_file_that_is_still_arriving_holds_its_export_up_and_does_not_hide_it(
    tmp_path: Path, cut: bytes, *, beside: bool
) -> None:
    put(tmp_path / "x/cur-1.csv.gz", cut)
    put(tmp_path / "x/cur-2.csv.gz", csv_gz([row("2025-02")]))
    put(tmp_path / "x/march.csv.gz", cut)
    if beside:
        put(tmp_path / "x/phones.csv", b"phone\n1\n")
    (found,) = looked(tmp_path).exports
    assert [*found.findings.waiting] == ["2025-02"]
    assert "cur-1.csv.gz" in found.findings.waiting["2025-02"]
    assert faults_of(looked(tmp_path)) == ({"x/march.csv.gz"} if beside else set())


def test_what_begins_with_a_dot_is_not_looked_into_and_is_named(tmp_path: Path) -> None:
    put(tmp_path / "x/a.csv.gz", csv_gz([row()]))
    hidden = ["x/.incoming/a.csv.gz", ".copy/a.csv.gz", "x/.a.csv.gz"]
    for key in hidden:
        put(tmp_path / key, csv_gz([row("2025-02")]))
    deliver(tmp_path / ".part")
    found = looked(tmp_path)
    assert files_of(found) == {"x": ["x/a.csv.gz"]}
    reasons = reasons_of(found)
    assert all("begins with a dot" in reasons[key] for key in hidden)


def test_names_with_signs_of_patterns_are_taken_as_they_are(tmp_path: Path) -> None:
    put(tmp_path / "accounts.csv", b"account\n1\n")
    for number, name in enumerate(("[prod] a-1", "what?-1", "all*-1")):
        put(tmp_path / f"{name}.csv.gz", csv_gz([row("2025-03", str(number))]))
    assert sorted(files_of(looked(tmp_path)).values()) == [
        ["[prod] a-1.csv.gz"],
        ["all*-1.csv.gz"],
        ["what?-1.csv.gz"],
    ]


def test_focus_is_known_by_the_four_columns_that_it_must_have(tmp_path: Path) -> None:
    put(tmp_path / "x/a.csv.gz", focus())
    (found,) = looked(tmp_path).exports
    assert (found.location.format.name, [*found.findings.deliveries]) == ("focus", ["2025-03"])


def test_of_copies_of_an_export_one_is_found_and_the_other_is_named(tmp_path: Path) -> None:
    for copy in ("copy1", "copy2"):
        deliver(tmp_path / copy, bucket="acme")
    found = looked(tmp_path)
    (kept,), (other,) = found.exports, found.unused
    assert "of the same report and bucket" in other.why
    assert {kept.location.rules.folder, *other.keys} == {
        "copy1/billing/cur/",
        "copy2/billing/cur/",
    }
    assert not other.is_fault
    deliver(tmp_path / "copy1", "2025-01", bucket="acme")
    deliver(tmp_path / "copy2", "2025-02", bucket="acme")
    assert len(faults_of(looked(tmp_path))) == 1
    put(tmp_path / "copy2/billing/cur/20250301-20250401/cur-Manifest.json", b"")
    assert len(looked(tmp_path).exports) == 2


def test_an_export_whose_only_month_waits_keeps_its_format(tmp_path: Path) -> None:
    for format_ in ("focus", "cur2"):
        spec = SampleSpec(
            layout="create-new", prefix="fin", report=format_, rows=20, chunks=2, format=format_
        )
        write_delivery(tmp_path, "2025-03", spec)
    for file in (*tmp_path.rglob("focus-00002*"), *tmp_path.rglob("cur2-00002*")):
        file.unlink()
    found = looked(tmp_path).exports
    assert [(one.location.report, one.location.format.name) for one in found] == [
        ("cur2", "cur2"),
        ("focus", "focus"),
    ]
    assert all([*one.findings.waiting] == ["2025-03"] for one in found)


def test_a_lake_is_left_out_but_for_what_was_delivered_to_it(tmp_path: Path) -> None:
    put(tmp_path / "lake/catalog/lake.json", b"{}")
    put(tmp_path / "lake/hive/a.csv.gz", csv_gz([row()]))
    put(tmp_path / "lake/landing/x/a.csv.gz", csv_gz([row()]))
    found = looked(tmp_path)
    assert files_of(found) == {"x": ["lake/landing/x/a.csv.gz"]}
    assert {key: one.why.split(",")[0] for one in found.unused for key in one.keys} == {
        "lake/": "a lake"
    }


def test_report_files_beside_the_deliveries_of_manifests_are_named(tmp_path: Path) -> None:
    deliver(tmp_path, version="v1")
    deliver(tmp_path, version="v2")
    late = ["billing/cur/late.csv.gz", "billing/cur/20250301-20250401/extra.csv.gz"]
    for key in late:
        put(tmp_path / key, csv_gz([row()]))
    found = looked(tmp_path)
    assert sorted(reasons_of(found)) == sorted(late)
    assert all("no manifest lists" in why for why in reasons_of(found).values())


def test_exports_with_settings_are_found_by_them_and_their_files_by_no_other(
    tmp_path: Path,
) -> None:
    for name, line in (("cur-1", "a"), ("cur-22", "b"), ("late-1", "c")):
        put(tmp_path / f"x/{name}.csv.gz", csv_gz([row("2025-03", line)]))
    put(tmp_path / "x/focus.csv.gz", focus())
    narrowed = ExportLocation("mine", "loose", "x", "cur-[0-9].csv.gz")
    gone = ExportLocation("gone", "loose", "nowhere")
    found = inspect(LocalStorage(tmp_path), known=[narrowed, gone])
    assert files_of(found) == {
        "gone": [],
        "mine": ["x/cur-1.csv.gz"],
        "focus": ["x/focus.csv.gz"],
    }
    told = {one.location.name: one for one in found.exports}
    assert "nowhere" in str(told["gone"].findings.broken)
    assert set(reasons_of(found)) == {"x/cur-22.csv.gz", "x/late-1.csv.gz"}
    assert "left out by `report` of the export mine" in reasons_of(found)["x/cur-22.csv.gz"]
    # What `load` wrote itself is no wish of anybody: another name is another export.
    written = replace(narrowed, report="cur-*.csv.gz")
    assert files_of(inspect(LocalStorage(tmp_path), known=[written])) == {
        "focus": ["x/focus.csv.gz"],
        "late": ["x/late-1.csv.gz"],
        "mine": ["x/cur-1.csv.gz", "x/cur-22.csv.gz"],
    }


def test_two_exports_with_settings_that_take_one_file_are_both_refused(tmp_path: Path) -> None:
    put(tmp_path / "x/a.csv.gz", csv_gz([row()]))
    put(tmp_path / "x/y/b.csv.gz", csv_gz([row("2025-02")]))
    outer, inner = (ExportLocation(one, "loose", one) for one in ("x", "x/y"))
    found = inspect(LocalStorage(tmp_path), known=[outer, inner])
    told = {one.location.name: one.findings for one in found.exports}
    assert [*told["x"].deliveries] == ["2025-03"]
    assert [*told["x/y"].deliveries] == []
    assert all("would be counted twice" in one.broken["2025-02"] for one in told.values())


@pytest.mark.parametrize("uncounted", [{"x"}, {"x/y"}, {"x", "x/y"}])
def test_an_export_whose_costs_do_not_count_may_have_files_of_another(
    tmp_path: Path, uncounted: set[str]
) -> None:
    put(tmp_path / "x/a.csv.gz", csv_gz([row()]))
    put(tmp_path / "x/y/b.csv.gz", csv_gz([row("2025-02")]))
    known = [ExportLocation(one, "loose", one) for one in ("x", "x/y")]
    found = inspect(LocalStorage(tmp_path), known=known, uncounted=uncounted)
    told = {one.location.name: [*one.findings.deliveries] for one in found.exports}
    assert told == {"x": ["2025-02", "2025-03"], "x/y": ["2025-02"]}
    third = ExportLocation("third", "loose", "x/y")
    found = inspect(LocalStorage(tmp_path), known=[*known, third], uncounted={"x"})
    broken = {one.location.name: [*one.findings.broken] for one in found.exports}
    assert broken == {"x": [], "x/y": ["2025-02"], "third": ["2025-02"]}


def test_files_of_an_export_whose_costs_do_not_count_are_offered_to_no_new_one(
    tmp_path: Path,
) -> None:
    put(tmp_path / "x/a.csv.gz", csv_gz([row()]))
    known = ExportLocation("mine", "loose", "x")
    found = inspect(LocalStorage(tmp_path), known=[known], uncounted={"mine"})
    assert [one.location.name for one in found.exports] == ["mine"]


def test_a_tree_with_settings_is_no_other_export(tmp_path: Path) -> None:
    deliver(tmp_path)
    where = ExportLocation("mine", "create-new", "billing", "cur")
    found = inspect(LocalStorage(tmp_path), known=[where])
    assert [*files_of(found)] == ["mine"]
    assert found.exports[0].is_known
