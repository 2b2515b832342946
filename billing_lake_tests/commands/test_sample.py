from __future__ import annotations

from pathlib import Path

import click
import pytest

from billing_lake.commands.sample import parse_months
from billing_lake.domain.layouts import ExportLocation
from billing_lake.storage.deliveries import resolve_delivery
from billing_lake.storage.local import LocalStorage
from billing_lake_tests.commands.conftest import Runner


def test_months_are_single_ones_and_ranges_each_once_in_order() -> None:
    assert parse_months(("2025-03", "2024-12..2025-02", "2025-01")) == [
        "2024-12",
        "2025-01",
        "2025-02",
        "2025-03",
    ]


@pytest.mark.parametrize("text", ["2025", "2025-13", "2025-03..2025-01", "2025-01...2025-02", ""])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_months((text,))


@pytest.mark.parametrize("layout", ["create-new", "overwrite"])
def test_deliveries_are_written_where_an_export_finds_them(tmp_path: Path, layout: str) -> None:
    options = (
        "--layout",
        layout,
        "--prefix",
        "x",
        "--report",
        "daily",
        "--rows",
        "50",
        "--chunks",
        "2",
    )
    result = Runner(tmp_path)(
        "sample", *options, "--months", "2025-01..2025-02", "--extra-tag", "user:Project"
    )
    assert result.exit_code == 0, result.output
    assert "2025-01" in result.stdout
    assert str(tmp_path / "landing") in result.stdout
    storage = LocalStorage(tmp_path / "landing")
    location = ExportLocation("any", layout, "x", "daily")  # type: ignore[arg-type]
    for period in ("2025-01", "2025-02"):
        assert len(resolve_delivery(storage, location, period).files) == 2


def test_a_restatement_has_a_new_version_and_one_file_fewer(tmp_path: Path) -> None:
    run = Runner(tmp_path / "home")
    options = ("--root", str(tmp_path / "bucket"), "--rows", "50")
    storage = LocalStorage(tmp_path / "bucket")
    location = ExportLocation("any", "create-new", "billing", "cost-and-usage")
    assert run("sample", *options).exit_code == 0
    first = resolve_delivery(storage, location, "2025-03")
    assert run("sample", *options, "--restatement", "1").exit_code == 0
    second = resolve_delivery(storage, location, "2025-03")
    assert first.version != second.version
    assert (len(first.files), len(second.files)) == (3, 2)
    assert not (tmp_path / "home").exists()


@pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")
def test_a_delivery_that_is_no_sample_is_never_overwritten(tmp_path: Path) -> None:
    manifest = (
        tmp_path / "landing/billing/cost-and-usage/20250301-20250401/cost-and-usage-Manifest.json"
    )
    manifest.parent.mkdir(parents=True)
    for text in ('{"account": "999999999999"}', "no json", "[]"):
        manifest.write_text(text)
        for command in (("sample", "--months", "2025-03"), ("demo",)):
            result = Runner(tmp_path)(*command)
            assert result.exit_code == 2, result.output
            assert "no sample" in result.stderr
        assert [manifest] == [path for path in (tmp_path / "landing").rglob("*") if path.is_file()]


def test_options_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    run = Runner(tmp_path)
    assert run("sample", "--columns", "3").exit_code == 2
    assert run("sample", "--report", "").exit_code == 2
    assert run("sample", "--prefix", "../x").exit_code == 2
