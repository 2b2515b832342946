"""Where sample deliveries go, in which order, and how they follow on one another."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_lake.domain.deliveries import Layout
from billing_lake.sample import SampleSpec, usage, write_delivery
from billing_lake.sample.renderers.legacy_columns import NATURAL
from billing_lake.sample.spec import month_of
from billing_lake_tests.sample import reading

LAYOUTS: tuple[Layout, ...] = ("create-new", "overwrite", "loose")


def keys(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_overwrite_puts_numbered_files_and_the_manifest_into_the_period_folder(
    tmp_path: Path,
) -> None:
    delivery = write_delivery(tmp_path, "2025-03", SampleSpec(rows=30))
    folder = "billing/cost-and-usage/20250301-20250401"
    assert keys(tmp_path) == [
        f"{folder}/cost-and-usage-00001.csv.gz",
        f"{folder}/cost-and-usage-00002.csv.gz",
        f"{folder}/cost-and-usage-00003.csv.gz",
        f"{folder}/cost-and-usage-Manifest.json",
    ]
    assert delivery.manifest == tmp_path / folder / "cost-and-usage-Manifest.json"


def test_create_new_puts_an_assembly_folder_between_and_writes_both_manifests(
    tmp_path: Path,
) -> None:
    spec = SampleSpec(rows=30, chunks=1, layout="create-new")
    delivery = write_delivery(tmp_path, "2024-12", spec)
    folder = "billing/cost-and-usage/20241201-20250101"
    assert keys(tmp_path) == [
        f"{folder}/{delivery.version}/cost-and-usage-00001.csv.gz",
        f"{folder}/{delivery.version}/cost-and-usage-Manifest.json",
        f"{folder}/cost-and-usage-Manifest.json",
    ]
    assert delivery.manifest == tmp_path / folder / "cost-and-usage-Manifest.json"
    inner = tmp_path / folder / delivery.version / "cost-and-usage-Manifest.json"
    assert reading.read_manifest(inner) == reading.read_manifest(delivery.manifest)


def test_loose_files_have_no_manifest_and_lie_side_by_side(tmp_path: Path) -> None:
    spec = SampleSpec(rows=30, chunks=2, layout="loose")
    deliveries = [write_delivery(tmp_path, period, spec) for period in ("2025-03", "2025-04")]
    assert keys(tmp_path) == [
        "billing/cost-and-usage-report-2025-03-00001.csv.gz",
        "billing/cost-and-usage-report-2025-03-00002.csv.gz",
        "billing/cost-and-usage-report-2025-04-00001.csv.gz",
        "billing/cost-and-usage-report-2025-04-00002.csv.gz",
    ]
    assert [delivery.manifest for delivery in deliveries] == [None, None]


def test_a_prefix_may_be_deep_or_empty(tmp_path: Path) -> None:
    write_delivery(tmp_path / "a", "2025-03", SampleSpec(rows=3, chunks=1, prefix="", report="r"))
    write_delivery(
        tmp_path / "b", "2025-03", SampleSpec(rows=3, chunks=1, prefix="x/y", report="r")
    )
    assert keys(tmp_path / "a")[0] == "r/20250301-20250401/r-00001.csv.gz"
    assert keys(tmp_path / "b")[0] == "x/y/r/20250301-20250401/r-00001.csv.gz"


@pytest.mark.parametrize("layout", ["create-new", "overwrite"])
def test_the_manifest_describes_the_files_that_are_there(tmp_path: Path, layout: Layout) -> None:
    root = tmp_path / "my-bucket"
    delivery = write_delivery(root, "2025-03", SampleSpec(rows=50, layout=layout))
    assert delivery.manifest is not None
    manifest = reading.read_manifest(delivery.manifest)
    assert [root / key for key in manifest["reportKeys"]] == list(delivery.files)
    assert manifest["bucket"] == "my-bucket"
    assert manifest["assemblyId"] == delivery.version
    assert manifest["billingPeriod"] == {
        "start": "20250301T000000.000Z",
        "end": "20250401T000000.000Z",
    }
    named = [f"{column['category']}/{column['name']}" for column in manifest["columns"]]
    assert named == reading.read_header(delivery.files[0]) == list(NATURAL)
    assert {column["type"] for column in manifest["columns"]} >= {
        "String",
        "BigDecimal",
        "DateTime",
    }


def test_the_manifest_is_written_after_every_data_file_and_nothing_hidden_stays(
    tmp_path: Path,
) -> None:
    seen: list[list[str]] = []
    spec = SampleSpec(rows=40, chunks=2)
    write_delivery(tmp_path, "2025-03", spec, progress=lambda _: seen.append(keys(tmp_path)))
    assert not any("Manifest" in key for before in seen for key in before)
    assert not any("partial" in key for key in keys(tmp_path))


def test_a_failure_leaves_neither_a_manifest_nor_a_half_file(tmp_path: Path) -> None:
    def fail(_: int) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_delivery(tmp_path, "2025-03", SampleSpec(rows=40), progress=fail)
    assert keys(tmp_path) == []


def test_a_restatement_under_overwrite_leaves_the_stale_last_file_in_the_folder(
    tmp_path: Path,
) -> None:
    spec = SampleSpec(rows=500)
    first = write_delivery(tmp_path, "2025-03", spec)
    last = first.files[-1].read_bytes()
    second = write_delivery(tmp_path, "2025-03", spec, restatement=1)
    assert second.files == first.files[:-1]
    assert first.files[-1].read_bytes() == last
    assert second.manifest is not None
    assert len(reading.read_manifest(second.manifest)["reportKeys"]) == 2
    assert second.version > first.version


def test_a_restatement_under_create_new_keeps_the_earlier_assembly(tmp_path: Path) -> None:
    spec = SampleSpec(rows=500, layout="create-new")
    first = write_delivery(tmp_path, "2025-03", spec)
    before = {path: path.read_bytes() for path in first.files}
    second = write_delivery(tmp_path, "2025-03", spec, restatement=1)
    assert {path: path.read_bytes() for path in first.files} == before
    assert not set(first.files) & set(second.files)
    assert second.manifest == first.manifest


def test_a_restatement_of_loose_files_leaves_only_its_own(tmp_path: Path) -> None:
    spec = SampleSpec(rows=500, layout="loose")
    other = write_delivery(tmp_path, "2025-04", spec)
    write_delivery(tmp_path, "2025-03", spec)
    second = write_delivery(tmp_path, "2025-03", spec, restatement=1)
    assert set(tmp_path.rglob("*.csv.gz")) == {*second.files, *other.files}


def test_a_restatement_has_the_same_rows_with_one_services_costs_corrected(tmp_path: Path) -> None:
    spec = SampleSpec()
    first, second, third = (
        write_delivery(tmp_path / str(number), "2025-03", spec, restatement=number)
        for number in range(3)
    )
    pairs = list(zip(reading.read_rows(first.files), reading.read_rows(second.files), strict=True))
    changed = {
        (old["lineItem/ProductCode"], name)
        for old, new in pairs
        for name in old
        if old[name] != new[name] and name not in {"identity/LineItemId", "bill/InvoiceId"}
    }
    assert {product for product, _ in changed} == {"AmazonS3"}
    assert ("AmazonS3", "lineItem/UnblendedCost") in changed
    assert ("AmazonS3", "lineItem/UsageAmount") not in changed
    name = "line_item_unblended_cost"
    costs = [delivery.totals["USD"][name] for delivery in (first, second, third)]
    assert costs[0] > costs[1] > costs[2]
    assert len({first.version, second.version, third.version}) == 3


def test_line_item_ids_do_not_survive_a_restatement_as_in_real_reports(tmp_path: Path) -> None:
    ids = [
        {row["identity/LineItemId"] for row in reading.read_rows(delivery.files)}
        for delivery in (
            write_delivery(tmp_path / str(number), "2025-03", SampleSpec(), restatement=number)
            for number in range(2)
        )
    ]
    assert not ids[0] & ids[1]


def test_the_same_arguments_write_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    here = write_delivery(tmp_path / "here" / "b", "2025-03", SampleSpec(rows=700), restatement=1)
    code = (
        "import sys; from pathlib import Path; from billing_lake.sample import *;"
        "write_delivery(Path(sys.argv[1]), '2025-03', SampleSpec(rows=700), restatement=1)"
    )
    there = tmp_path / "there" / "b"
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "POLARS_MAX_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", code, str(there)], check=True, env=environment)
    assert keys(there) == keys(tmp_path / "here" / "b")
    assert here.manifest is not None
    for path in (*here.files, here.manifest):
        twin = there / path.relative_to(tmp_path / "here" / "b")
        assert twin.read_bytes() == path.read_bytes()


def test_another_seed_or_month_gives_other_rows(tmp_path: Path) -> None:
    written = [
        write_delivery(tmp_path / f"{seed}", period, SampleSpec(rows=200, seed=seed))
        for seed, period in ((1, "2025-03"), (2, "2025-03"), (1, "2025-05"))
    ]
    costs = {delivery.totals["USD"]["line_item_unblended_cost"] for delivery in written}
    assert len(costs) == 3


def test_an_extra_tag_adds_a_column_and_changes_nothing_else(tmp_path: Path) -> None:
    spec = SampleSpec(rows=300, chunks=1)
    plain = write_delivery(tmp_path / "a", "2025-03", spec)
    tagged = write_delivery(tmp_path / "b", "2025-03", spec, extra_tags=["user:Project"])
    column = "resourceTags/user:Project"
    rows = reading.read_rows(tagged.files)
    values = [row.pop(column) for row in rows]
    assert any(values)
    assert not all(values)
    assert rows == reading.read_rows(plain.files)
    assert tagged.totals == plain.totals


def test_columns_pads_with_tags_and_changes_nothing_else(tmp_path: Path) -> None:
    plain = write_delivery(tmp_path / "a", "2025-03", SampleSpec(rows=300))
    wide = write_delivery(tmp_path / "b", "2025-03", SampleSpec(rows=300, columns=150))
    header = reading.read_header(wide.files[0])
    assert len(header) == len(set(header)) == 150
    assert [name for name in header if "Padding" not in name] == list(NATURAL)
    assert wide.totals == plain.totals


def test_the_natural_report_has_about_a_hundred_columns() -> None:
    assert 95 <= len(NATURAL) <= 105


def test_the_currency_is_the_one_asked_for(tmp_path: Path) -> None:
    delivery = write_delivery(tmp_path, "2025-03", SampleSpec(rows=300, currency="EUR"))
    assert set(delivery.totals) == {"EUR"}
    assert delivery.totals == reading.totals(reading.read_rows(delivery.files))


def test_progress_adds_up_to_the_rows(tmp_path: Path) -> None:
    steps: list[int] = []
    write_delivery(tmp_path, "2025-03", SampleSpec(rows=333), progress=steps.append)
    assert sum(steps) == 333
    assert all(steps)


@settings(max_examples=12)
@given(
    rows=st.integers(0, 400),
    chunks=st.integers(1, 5),
    seed=st.integers(0, 2**40),
    restatement=st.integers(0, 3),
    layout=st.sampled_from(LAYOUTS),
)
def test_whatever_the_size_the_files_hold_exactly_the_rows_and_totals_and_balance(
    rows: int, chunks: int, seed: int, restatement: int, layout: Layout
) -> None:
    spec = SampleSpec(rows=rows, chunks=chunks, seed=seed, layout=layout)
    with TemporaryDirectory() as folder:
        delivery = write_delivery(Path(folder), "2025-02", spec, restatement=restatement)
        read = reading.read_rows(delivery.files)
    assert len(delivery.files) == max(1, chunks - (restatement > 0))
    assert len(read) == delivery.rows == rows
    assert delivery.totals == reading.totals(read)
    assert reading.is_balanced(read)


@settings(max_examples=3)
@given(chunks=st.integers(2, 7))
def test_how_rows_are_cut_into_files_changes_no_row(chunks: int) -> None:
    with TemporaryDirectory() as folder:
        one = write_delivery(Path(folder, "1"), "2025-03", SampleSpec(rows=250, chunks=1))
        many = write_delivery(Path(folder, "n"), "2025-03", SampleSpec(rows=250, chunks=chunks))
        assert reading.read_rows(one.files) == reading.read_rows(many.files)
        assert one.totals == many.totals


def test_the_dearest_block_fits_the_integers_that_add_it_up() -> None:
    from billing_lake.sample.canonical import MONEY_SCALE
    from billing_lake.sample.catalogue import OFFERS, REGIONS

    dearest = max(
        Decimal(offer.rate) * Decimal(10) ** (offer.amounts.high + 1 - offer.amounts.scale)
        for offer in OFFERS
    )
    percent = max(region.percent for region in REGIONS)
    assert dearest * percent / 100 * 10**MONEY_SCALE * usage.BLOCK_ROWS < 2**63


def test_polars_reads_what_is_written(tmp_path: Path) -> None:
    delivery = write_delivery(tmp_path, "2025-03", SampleSpec())
    frame = pl.read_csv(delivery.files[0], infer_schema=False)
    assert frame.rows() == [
        tuple(value or None for value in row.values())
        for row in reading.read_rows(delivery.files[:1])
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "flat"}, "layout is 'flat'"),
        ({"rows": -1}, "rows is -1"),
        ({"chunks": 0}, "chunks is 0"),
        ({"seed": -3}, "seed is -3"),
        ({"report": ""}, "report is empty"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SampleSpec(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("period", ["2025-13", "2025-3", "25-03", "2025-03-01", "", "0000-01"])
def test_a_period_that_is_no_month_is_refused(tmp_path: Path, period: str) -> None:
    with pytest.raises(ValueError, match="must be a month as YYYY-MM"):
        write_delivery(tmp_path, period, SampleSpec(rows=1))


def test_too_few_columns_a_double_tag_and_a_negative_restatement_are_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match="columns is 12"):
        write_delivery(tmp_path, "2025-03", SampleSpec(columns=12))
    with pytest.raises(ValueError, match="appear twice: resourceTags/user:Owner"):
        write_delivery(tmp_path, "2025-03", SampleSpec(), extra_tags=["user:Owner"])
    with pytest.raises(ValueError, match="restatement is -1"):
        write_delivery(tmp_path, "2025-03", SampleSpec(), restatement=-1)
    assert keys(tmp_path) == []


def test_a_month_ends_where_the_next_begins() -> None:
    december = month_of("2024-12")
    assert december.end == month_of("2025-01").start
    assert december.hours == 744
    assert month_of("2024-02").hours == 29 * 24


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, billing_lake.sample;"
        "print(sorted({'polars', 'numpy', 'pyarrow', 'dagster'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "[]"
