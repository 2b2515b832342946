from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import click
import pytest

from billing_lake.commands.sample import parse_months
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import resolve_delivery
from billing_lake.landing.local import LANDING_SETTING, LocalStorage
from billing_lake_tests.commands.conftest import Runner


def test_months_are_single_ones_and_ranges_each_once_in_order() -> None:
    assert parse_months(None, None, ("2025-03", "2024-12..2025-02", "2025-01")) == [
        "2024-12",
        "2025-01",
        "2025-02",
        "2025-03",
    ]


@pytest.mark.parametrize("text", ["2025", "2025-13", "2025-03..2025-01", "2025-01...2025-02", ""])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_months(None, None, (text,))


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


@pytest.mark.parametrize(
    ("format_", "cost"),
    [("focus", "billed cost"), ("cur2", "unblended cost"), ("legacy_cur", "unblended cost")],
)
def test_the_cost_that_is_shown_is_the_format_s_own(
    tmp_path: Path, format_: str, cost: str
) -> None:
    shown = Runner(tmp_path)("sample", "--format", format_, "--rows", "60").stdout.splitlines()
    assert cost in shown[0] + shown[1]
    (row,) = (line.split() for line in shown if line.split()[:1] == ["2025-03"])
    assert row[-1] == "USD"
    assert Decimal(row[-2]) > 0


def test_samples_go_where_the_lake_looks_for_deliveries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LANDING_SETTING, str(tmp_path / "bill"))
    result = Runner(tmp_path / "home")("sample", "--rows", "10", "--months", "2025-01")
    assert result.exit_code == 0, result.output
    location = ExportLocation("any", "create-new", "billing", "cost-and-usage")
    assert resolve_delivery(LocalStorage(tmp_path / "bill"), location, "2025-01").files


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


@pytest.mark.parametrize("layout", ["create-new", "overwrite", "loose"])
def test_samples_are_refused_in_a_folder_with_a_file_that_is_no_sample(
    tmp_path: Path, layout: str
) -> None:
    run = Runner(tmp_path)
    options = ("sample", "--rows", "20", "--layout", layout, "--prefix", "bills/of-a-team")
    assert run(*options).exit_code == 0
    assert run(*options, "--restatement", "1").exit_code == 0
    folder = tmp_path / "landing" / "bills"
    sample = min(folder.rglob("*.csv.gz"))
    before = sample.read_bytes()
    for foreign in (folder / "mine.csv.gz", sample):
        # A file of one's own may have the name of a sample, too.
        foreign.write_bytes(b"mine")
        files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        result = run(*options)
        assert result.exit_code == 2, result.output
        assert "there is a file that is no sample" in result.stderr
        assert files == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        foreign.unlink()
    sample.write_bytes(before)
    assert run(*options).exit_code == 0


def test_a_kill_between_two_samples_does_not_make_strangers_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Runner(tmp_path)
    written: list[Path] = []

    def replace(hidden: Path, path: Path) -> Path:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        return real(hidden, path)

    real = Path.replace
    monkeypatch.setattr(Path, "replace", replace)
    assert run("sample", "--rows", "20").exit_code != 0
    monkeypatch.undo()
    assert [path.exists() for path in written] == [True, True]
    assert run("sample", "--rows", "20").exit_code == 0


def test_options_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    run = Runner(tmp_path)
    assert run("sample", "--columns", "3").exit_code == 2
    assert run("sample", "--report", "").exit_code == 2
    assert run("sample", "--prefix", "../x").exit_code == 2
