"""Loads of loose files: rows of a month that lie where nobody looks for them, and files that could hold some."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

import dagster as dg
import pytest

from billing_lake.deployments.base import LAKE_RESOURCE
from billing_lake_tests.lakes import (
    EXPORT,
    SampleLake,
    failed,
    failure,
    verdicts,
)
from billing_lake_tests.landing.small_deliveries import csv_gz, put, row

Make = Callable[..., SampleLake]


@pytest.fixture(name="loose")
def a_loose_export(make_lake: Make) -> SampleLake:
    return make_lake(layout="loose", prefix="bill", report="", outputs=["iceberg"])


def lay(lake: SampleLake, name: str, *periods: str) -> None:
    rows = [row(period, f"{name}-{number}") for number, period in enumerate(periods)]
    put(lake.landing / f"bill/{name}.csv.gz", csv_gz(rows))


def error_text(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    return failure(result, f"{EXPORT}__crawler_table")


def test_rows_of_a_month_in_a_file_that_begins_with_another_stop_both_months_by_name(
    loose: SampleLake,
) -> None:
    lay(loose, "march", "2025-03", "2025-03")
    lay(loose, "april", "2025-04")
    lay(loose, "mixed", "2025-03", "2025-04", "2025-04")
    text = error_text(loose.load("2025-04"))
    assert text.startswith("RowsElsewhereError: A file that begins with ")
    assert "bill/mixed.csv.gz" in text
    assert "bill/mixed.csv.gz" in error_text(loose.load("2025-03"))
    assert loose.lake.iceberg.tables() == ()
    lay(loose, "mixed", "2025-03")
    lay(loose, "rest", "2025-04", "2025-04")
    assert loose.load("2025-04").success
    assert loose.profile("iceberg", "2025-04").rows == 3
    assert loose.load("2025-03").success
    assert loose.profile("iceberg", "2025-03").rows == 3


def test_a_bad_cell_of_another_month_stops_that_month_alone(loose: SampleLake) -> None:
    lay(loose, "april", "2025-04")
    bad = ("i", "2025-03-01T00:00:00Z", "2025-03-02T00:00:00Z", "USD", "no number")
    put(loose.landing / "bill/march.csv.gz", csv_gz([bad]))
    assert loose.load("2025-04").success
    assert "no number" in error_text(loose.load("2025-03"))


def test_a_file_of_another_month_that_ends_too_early_could_hold_rows_of_this_one(
    loose: SampleLake,
) -> None:
    lay(loose, "april", "2025-04")
    # The first block of gzip holds the first rows, the second one is cut.
    first = csv_gz([row("2025-03", str(n)) for n in range(20_000)])
    put(loose.landing / "bill/march.csv.gz", first + gzip.compress(b"x" * 1000)[:20])
    text = error_text(loose.load("2025-04"))
    assert text.startswith("UnusableFilesError: A file of 2025-03 could hold rows of 2025-04")
    assert "bill/march.csv.gz" in text


def test_files_that_were_seen_whole_are_not_read_again_until_they_change(
    loose: SampleLake,
) -> None:
    for month in ("2025-02", "2025-03", "2025-04"):
        lay(loose, month, month)

    def looked_at(period: str) -> list[str]:
        result = loose.load(period)
        assert result.success
        lines = (entry.user_message for entry in loose.instance.all_logs(result.run_id))
        return sorted(line.rpartition(" ")[2] for line in lines if "looking for its rows" in line)

    assert looked_at("2025-04") == ["2025-02", "2025-03"]
    assert looked_at("2025-03") == []
    lay(loose, "2025-04", "2025-04", "2025-04")
    assert looked_at("2025-03") == ["2025-04"]
    assert looked_at("2025-04") == []
    # What is remembered does not grow with restatements: one delivery of each month lies there.
    assert len(loose.lake.values.periods((loose.name, "loose_files_of_one_period"))) == 3


def test_a_run_says_which_loose_file_is_unusable_and_why(loose: SampleLake) -> None:
    lay(loose, "march", "2025-03")
    assert loose.load("2025-03").success
    before = loose.profile("iceberg", "2025-03")
    put(loose.landing / "bill/new.csv.gz", csv_gz([row()])[:30])
    result = loose.load("2025-03")
    assert not result.success
    text = failure(result, f"{EXPORT}__raw_reports")
    assert text.startswith("IncompleteDeliveryError: ")
    assert "bill/new.csv.gz: The gzip stream is damaged" in text
    assert loose.profile("iceberg", "2025-03") == before


def test_a_wrong_prefix_fails_with_the_folders_that_are_there(make_lake: Make) -> None:
    lake = make_lake(prefix="bilings")
    lake.deliver("2025-03")
    result = lake.load("2025-03")
    assert not result.success
    text = failure(result, f"{EXPORT}__raw_reports")
    assert text.startswith(
        f"NoFolderError: There is no folder {lake.landing}/bilings/daily/; in {lake.landing}/ there are: "
        "billing/"
    )


MONTHS = ("2025-03", "2025-04")
FOCUS_HEADER = (
    "BilledCost",
    "ChargeCategory",
    "BillingPeriodStart",
    "ChargePeriodStart",
    "BillingCurrency",
    "Tags",
)


def lay_focus(lake: SampleLake, name: str, **costs: Sequence[str]) -> None:
    """Lay a FOCUS file with a row for each of ``costs``, by the name of its month."""
    rows = [
        (cost, "Usage", f"{month}-01", f"{month}-02T00:00:00Z", "USD", '{"a": "b"}')
        for month, them in zip(MONTHS, costs.values(), strict=True)
        for cost in them
    ]
    put(lake.landing / f"bill/{name}.csv.gz", csv_gz(rows, FOCUS_HEADER))
    lake.sync()


@pytest.fixture(name="focus")
def a_loose_export_of_focus(make_lake: Make) -> SampleLake:
    outputs = ["iceberg", "hive"]
    return make_lake(layout="loose", prefix="bill", report="", outputs=outputs, format="focus")


def materialized(result: dg.ExecuteInProcessResult) -> list[str]:
    """Return the assets of which a run made something."""
    return [
        event.asset_key.path[-1]
        for event in result.get_asset_materialization_events()
        if event.asset_key
    ]


def held(lake: SampleLake) -> dict[str, tuple[int, Decimal]]:
    """Return rows and cost of each month that the tables hold, the same in both."""
    found: list[dict[str, tuple[int, Decimal]]] = []
    for output in ("iceberg", "hive"):
        profiles = {month: lake.profile(output, month) for month in MONTHS}
        found.append(
            {
                month: (one.rows, one.totals["USD"]["billedcost"])
                for month, one in profiles.items()
                if one.rows
            }
        )
    assert found[0] == found[1]
    return found[0]


def test_a_file_of_several_months_is_loaded_month_by_month_restated_and_never_lost(
    focus: SampleLake,
) -> None:
    lay_focus(focus, "both", march=["1.5", "2"], april=["0.25"])
    lay_focus(focus, "april", march=[], april=["4"])
    for month in MONTHS:
        result = focus.load(month)
        assert result.success
        assert failed(verdicts(result)) == []
    assert held(focus) == {"2025-03": (2, Decimal("3.5")), "2025-04": (2, Decimal("4.25"))}

    lay_focus(focus, "both", march=["1.5"], april=["0.25", "0.5"])
    assert focus.load("2025-03").success
    assert focus.load("2025-04").success
    assert held(focus) == {"2025-03": (1, Decimal("1.5")), "2025-04": (3, Decimal("4.75"))}

    lay_focus(focus, "both", march=[], april=["0.25"])
    gone = focus.load("2025-03")
    assert gone.success
    assert materialized(gone) == []
    assert focus.load("2025-04").success
    kept = {"2025-03": (1, Decimal("1.5")), "2025-04": (2, Decimal("4.25"))}
    assert held(focus) == kept, "rows that are not delivered any more are not removed on their own"


def load_beside(one: SampleLake, *exports: SampleLake) -> dg.ExecuteInProcessResult:
    """Load March of an export of a project that has several."""
    definitions = dg.Definitions.merge(
        one.component.definitions_beside([each.component for each in exports]),
        dg.Definitions(resources={LAKE_RESOURCE: one.lake}),
    )
    job = definitions.resolve_job_def(f"{one.name}_load")
    return job.execute_in_process(
        instance=one.instance, partition_key="2025-03", raise_on_error=False
    )


@pytest.mark.parametrize("linked", ["folder", "file"])
def test_a_file_that_a_link_gives_to_a_second_export_is_not_counted_twice(
    loose: SampleLake, linked: str
) -> None:
    first = replace(loose, settings={**loose.settings, "report": ""})
    second = replace(first, settings={**first.settings, "name": "other", "prefix": "again"})
    lay(loose, "a", "2025-03")
    again = loose.landing / "again"
    if linked == "folder":
        again.symlink_to("bill")
    else:
        again.mkdir()
        (again / "z.csv.gz").symlink_to("../bill/a.csv.gz")
    result = load_beside(second, first, second)
    assert not result.success
    text = failure(result, "other__raw_reports")
    assert text.startswith(f"SharedFilesError: The export {EXPORT} has files of 2025-03 as well")
    assert "again/" in text


def test_one_export_goes_on_in_the_folder_of_another_that_has_ended(loose: SampleLake) -> None:
    ended = replace(loose, settings={**loose.settings, "report": "", "end": "2025-02"})
    settings = {**loose.settings, "report": "", "name": "other", "start": "2025-03"}
    goes_on = replace(loose, settings=settings)
    lay(loose, "a", "2025-03")
    assert load_beside(goes_on, ended, goes_on).success


def test_a_file_that_two_exports_take_is_loaded_into_neither(loose: SampleLake) -> None:
    settings = {**loose.settings, "report": "a*.csv.gz"}
    first = replace(loose, settings=settings)
    second = replace(loose, settings={**settings, "name": "other", "report": "*b.csv.gz"})

    def load(one: SampleLake) -> dg.ExecuteInProcessResult:
        return load_beside(one, first, second)

    lay(loose, "a", "2025-03")
    lay(loose, "b", "2025-03")
    assert load(first).success
    assert load(second).success
    lay(loose, "ab", "2025-03")
    for one, other in ((first, "other"), (second, EXPORT)):
        result = load(one)
        assert not result.success
        text = failure(result, f"{one.name}__raw_reports")
        assert text.startswith(f"SharedFilesError: The export {other} has files of 2025-03 as well")
        assert "bill/ab.csv.gz" in text
        assert "Let `prefix` and `report`" in text
    counted = second
    second = replace(second, settings={**second.settings, "counts": False})
    assert load(first).success
    assert load(second).success
    second = counted
    assert not load(second).success
    (loose.landing / "bill/ab.csv.gz").rename(loose.landing / "bill/c.csv.gz")
    assert load(second).success
