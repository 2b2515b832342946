from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from billing_lake.components import BillingExport
from billing_lake.sample import SampleSpec, write_delivery
from billing_lake_tests.commands.conftest import Runner
from billing_lake_tests.landing.small_deliveries import csv_gz, deliver, put, row


def test_a_folder_is_shown_as_a_table_with_the_settings_that_load_it(
    run: Runner, tmp_path: Path
) -> None:
    deliver(tmp_path, "2025-01")
    deliver(tmp_path, "2025-02", assemblyId="")
    put(tmp_path / "notes.txt", b"hello")
    env = {"COLUMNS": "100", "BILLING_LAKE_DEFS": str(tmp_path / "mine")}
    result = run("inspect", str(tmp_path), env=env)
    assert result.exit_code == 1  # a month is broken
    lines = result.output.splitlines()
    assert (
        lines[0]
        == f"{tmp_path}: 7 files, {sum(f.stat().st_size for f in tmp_path.rglob('*') if f.is_file()) / 1000:,.1f} kB"
    )
    (line,) = (one for one in lines if one.startswith(" cur "))
    assert line.split() == [
        *("cur", "legacy_cur", "create-new", "2025-01,", "1", "broken"),
        *("2", line.split()[7], "bytes", "billing/cur/"),
    ]
    assert "cur: 2025-02 is broken: The manifest has no assemblyId" in result.output
    assert "not a report file: notes.txt" in result.output
    heading = f"\n{tmp_path / 'mine' / 'cur' / 'defs.yaml'}\n"
    settings = yaml.safe_load(result.output.partition(heading)[2])
    assert settings["type"] == "billing_lake.components.BillingExport"
    export = BillingExport(**settings["attributes"]).export
    assert (export.name, export.location.prefix, export.location.report, export.start) == (
        "cur",
        "billing",
        "cur",
        "2025-01",
    )


def test_a_file_of_several_months_is_one_file(run: Runner, tmp_path: Path) -> None:
    header = [
        "BillingPeriodStart",
        "ChargePeriodStart",
        "BillingCurrency",
        "BilledCost",
        "ChargeCategory",
    ]
    rows = [[f"2025-0{month}-01T00:00:00Z"] * 2 + ["USD", "1", "Tax"] for month in (1, 2)]
    file = put(tmp_path / "mails/focus.csv.gz", csv_gz(rows, header))
    shown = run("inspect", str(tmp_path), env={"COLUMNS": "120"}).output
    (line,) = (one for one in shown.splitlines() if one.startswith(" mails "))
    assert line.split()[-4:] == ["1", f"{file.stat().st_size}", "bytes", "mails/"]
    assert "2025-01 … 2025-02 (2)" in line


def test_no_folder_is_broken_where_the_table_is_wider_than_the_line(
    run: Runner, tmp_path: Path
) -> None:
    folder = "finance/exports/of/the/whole/organisation/and/all/of/its/payers/"
    put(tmp_path / folder / "bill.csv.gz", csv_gz([row()]))
    for columns in ("100", "200"):
        shown = run("inspect", str(tmp_path), env={"COLUMNS": columns}).stdout.splitlines()
        table = shown[: shown.index("")]
        assert any(" loose " in line for line in table)
        assert any(line.rstrip().endswith(f" {folder}") for line in table)
        assert sum(" loose " in line and folder in line for line in table) == (columns == "200")


def test_programs_get_json(run: Runner, tmp_path: Path) -> None:
    deliver(tmp_path, "2025-01", bucket="acme")
    put(tmp_path / "x.csv", b"a")
    found = json.loads(run("inspect", str(tmp_path), "--json").output)
    (export,) = found["exports"]
    (delivery,) = export["deliveries"]
    assert (delivery["period"], delivery["version"], delivery["files"]) == ("2025-01", "v1", 2)
    assert export["buckets"] == ["acme"]
    assert export["format_version"] is None
    assert yaml.safe_load(export["yaml"])["attributes"]["layout"] == "create-new"
    assert found["unused"][0]["keys"] == ["x.csv"]


def test_rows_are_counted_where_files_tell_them_and_only_when_asked(
    run: Runner, tmp_path: Path
) -> None:
    deliver(tmp_path, "2025-01")
    spec = SampleSpec(format="cur2", container="snappy.parquet", report="new", rows=40, chunks=2)
    written = write_delivery(tmp_path, "2025-01", spec)
    env = {"COLUMNS": "120"}
    shown = run("inspect", str(tmp_path), "--rows", env=env).output.splitlines()
    counted = {
        line.split()[0]: line.split()[5:7]
        for line in shown
        if " create-new " in line or " overwrite " in line
    }
    assert counted == {"cur": ["not", "told"], "new": [f"{written.rows}", counted["new"][1]]}
    found = json.loads(run("inspect", str(tmp_path), "--rows", "--json").output)
    rows = {one["name"]: one["deliveries"][0]["rows"] for one in found["exports"]}
    assert rows == {"cur": None, "new": written.rows}
    unasked = json.loads(run("inspect", str(tmp_path), "--json").output)
    assert {one["deliveries"][0]["rows"] for one in unasked["exports"]} == {None}


@pytest.mark.parametrize(
    ("uri", "reason"),
    [("nowhere", "nowhere is not there"), ("s3://", "s3:// names no bucket")],
)
def test_a_place_that_cannot_be_is_refused_in_a_sentence(
    run: Runner, uri: str, reason: str
) -> None:
    result = run("inspect", uri)
    assert result.exit_code == 2
    assert reason in result.output
    assert "Traceback" not in result.output


def test_names_from_outside_do_nothing_to_the_terminal(run: Runner, tmp_path: Path) -> None:
    put(tmp_path / "a\x1b[31m/b-00001.csv.gz", csv_gz([row()]))
    put(tmp_path / "[bold]x\x1b]0;.txt", b"x")
    result = run("inspect", str(tmp_path))
    assert result.exit_code == 1  # no export can have such a folder
    assert "\x1b" not in result.output
    assert "[bold]x" in result.output


def test_a_long_key_stands_in_one_line_so_that_it_can_be_copied(
    run: Runner, tmp_path: Path
) -> None:
    names = [f"{'accounts of finance ' * 4}{number}.txt" for number in (1, 2)]
    for name in names:
        put(tmp_path / name, b"x")
    shown = run("inspect", str(tmp_path), env={"COLUMNS": "80"}).output
    assert all(name in shown for name in names)


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_exit_status_tells_of_what_is_broken_and_of_nothing_else(
    run: Runner, tmp_path: Path, arguments: list[str]
) -> None:
    def status() -> int:
        return run("inspect", str(tmp_path), *arguments).exit_code

    assert status() == 0  # nothing lies there
    deliver(tmp_path, "2025-01")
    put(tmp_path / "notes.txt", b"hello")
    assert status() == 0
    *files, _ = deliver(tmp_path, "2025-02")
    assert status() == 0
    for file in files:
        file.unlink()
    shown = run("inspect", str(tmp_path)).output
    assert "2025-02 waits" in shown
    assert status() == 0
    put(tmp_path / "mails/cur-1.csv.gz", b"no gzip")
    put(tmp_path / "mails/cur-2.csv.gz", csv_gz([row()]))
    assert status() == 1


def test_what_an_inspection_says_of_a_broken_file_is_true_where_nothing_is_loaded(
    run: Runner, tmp_path: Path
) -> None:
    put(tmp_path / "x/cur-1.csv.gz", b"no gzip")
    put(tmp_path / "y/cur-1.csv.gz", b"no gzip")
    put(tmp_path / "y/cur-2.csv.gz", csv_gz([row()]))
    for arguments in ([], ["--json"]):
        result = run("inspect", str(tmp_path), *arguments)
        said = " ".join(result.output.split())
        assert said.count("not gzipped") == 2
        assert "no table was changed" not in said
        assert "load the period again" not in said
