"""What `query` says where it cannot answer: which table, which column, which month, and what to do."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from billing_lake.commands.query import named_sql
from billing_lake.commands.results import print_table
from billing_lake.deployments import LocalLake
from billing_lake.domain.errors import QueryError, TableError
from billing_lake.formats.locations import ExportLocation
from billing_lake.sql.lake_sql import LakeSql
from billing_lake.sql.named_queries import NAMED_QUERIES
from billing_lake.sql.tables import choose_table
from billing_lake_tests.commands.conftest import MARCH, TABLE, Runner, load, write_report
from billing_lake_tests.patience import PATIENCE_SECONDS


def flat(text: str) -> str:
    """Return the text of a panel without its frame and line ends."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A lake of two exports."""
    lake = LocalLake(tmp_path_factory.mktemp("two"))
    for name in ("cost_and_usage", "mybill"):
        write_report(
            lake.home / "landing" / name / "a.csv.gz", "2025-03", MARCH, thin=name == "mybill"
        )
        load(lake, ExportLocation(name, "loose", name), "2025-03")
    return Runner(lake.home)


def test_with_two_exports_the_remedy_is_a_command_that_works(two: Runner) -> None:
    asked = ("query", "--named", "cost-by-service", "--period", "2025-03")
    refused = two(*asked)
    assert refused.exit_code == 1
    said = flat(refused.stderr)
    assert "several exports: billing.cost_and_usage, billing.mybill" in said
    remedy = re.search(r"--table (\w+)", said)
    assert remedy is not None
    for table in (remedy[1], "mybill", "hive.mybill", "billing.mybill", "s3tables.billing.mybill"):
        answer = two(*asked, "--table", table, "--format", "csv")
        assert answer.exit_code == 0, answer.stderr
        assert "AmazonRDS,USD,65" in answer.stdout


def test_a_bare_name_in_two_namespaces_is_no_name() -> None:
    tables = {"iceberg": ("a.bill", "b.bill"), "s3tables": ("a.bill",), "hive": ()}
    with pytest.raises(TableError, match=r"several tables bill: a\.bill, b\.bill"):
        choose_table(tables.__getitem__, "bill", str, "")
    assert choose_table(tables.__getitem__, "b.bill", str, "") == ("iceberg", "b.bill")
    assert choose_table(tables.__getitem__, "s3tables.bill", str, "") == ("s3tables", "a.bill")


def test_what_a_rebuild_leaves_is_no_second_export() -> None:
    names = ("billing.costs", "billing.costs__before_20250401_120000", "billing.costs_static")
    assert choose_table(lambda _: names, None, str, "") == ("iceberg", "billing.costs")


def test_an_export_may_have_a_name_with_two_underscores_side_by_side() -> None:
    names = ("billing.acme__costs", "billing.acme__costs__before_20250401_120000")
    assert choose_table(lambda _: names, None, str, "") == ("iceberg", "billing.acme__costs")


@pytest.mark.parametrize("asked", ["cost_and_usge", "billing.cost_and_usage2", "COST_AND_USAGE"])
def test_a_table_that_is_not_there_brings_the_one_to_mind_that_may_be_meant(
    run: Runner, asked: str
) -> None:
    named = run("query", "--named", "cost-by-day", "--table", asked)
    assert f"did you mean {TABLE}?" in flat(named.stderr)
    if asked.islower():
        said = flat(run("query", f"SELECT 1 FROM {asked}").stderr)
        assert f"Did you mean {TABLE}?" in said
        assert "pg_" not in said


def test_no_table_of_duckdbs_own_is_suggested(run: Runner) -> None:
    said = run("query", "SELECT 1 FROM enum").stderr
    assert "does not exist" in said
    assert "Did you mean" not in said


@pytest.mark.parametrize(
    ("sql", "remedy"),
    [
        ("DROP TABLE billing.cost_and_usage", "This is DROP"),
        ("INSERT INTO x VALUES (1)", "This is INSERT"),
        ("EXPLAIN SELECT 1", "This is EXPLAIN"),
        ("SELECT 1; SELECT 2", "These are 2 statements"),
        ("", "Write one."),
        (" ; -- nothing", "Write one."),
        ("PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)", "PIVOT works where"),
    ],
)
def test_what_is_no_select_is_refused_with_a_remedy_that_fits(
    run: Runner, sql: str, remedy: str
) -> None:
    said = flat(run("query", sql).stderr)
    assert "takes one SELECT statement and only reads" in said
    assert remedy in said
    assert ("PIVOT" in said) == sql.startswith("PIVOT")


def test_a_named_query_of_a_month_that_is_not_loaded_names_those_that_are(run: Runner) -> None:
    for format_ in ("table", "csv"):
        result = run("query", "--named", "cost-by-day", "--period", "2025-04", "--format", format_)
        assert result.exit_code == 1
        assert result.stdout == ""
        said = flat(result.stderr)
        assert f"{TABLE} holds no row of the billing period 2025-04" in said
        assert "2025-02, 2025-03" in said


def test_a_month_that_is_loaded_may_have_nothing_to_tell(tmp_path: Path) -> None:
    lake = LocalLake(tmp_path)
    fees = [{"type": "Fee", "cost": "1", "tag": "A"}]
    write_report(lake.home / "landing" / "b" / "a.csv.gz", "2025-03", fees, thin=False)
    load(lake, ExportLocation("b", "loose", "b"), "2025-03")
    result = Runner(tmp_path)("query", "--named", "untagged", "--period", "2025-03")
    assert (result.exit_code, "no rows" in result.stdout) == (0, True)


def test_untagged_is_refused_without_tag_columns_never_answered_with_everything(
    two: Runner,
) -> None:
    result = two("query", "--named", "untagged", "--table", "mybill")
    assert result.exit_code == 1
    assert "Activate your cost allocation tags" in flat(result.stderr)


def test_the_flagship_fits_into_a_terminal_of_80_columns(lake: LocalLake) -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    with LakeSql(lake) as lake_sql:
        for name in NAMED_QUERIES:
            print_table(lake_sql.ask(named_sql(lake_sql, name)), console, 50, cents=True)
    lines = out.getvalue().splitlines()
    assert "row 1" not in out.getvalue()
    assert max(map(len, lines)) <= 80
    assert any(line.split() == ["AmazonRDS", "USD", "65.00", "4.00", "3"] for line in lines)


def test_the_sql_of_a_named_query_is_shown_and_works_as_it_is(run: Runner) -> None:
    named = ("query", "--named", "cost-by-day", "--period", "2025-03")
    shown = run(*named, "--sql")
    assert shown.exit_code == 0
    assert (
        run("query", shown.stdout, "--format", "csv").stdout
        == run(*named, "--format", "csv").stdout
    )
    assert run("query", "SELECT 1", "--sql").exit_code == 2


def test_csv_writes_true_and_false_as_other_programs_do(run: Runner) -> None:
    assert (
        run("query", "SELECT true AS t, false AS f", "--format", "csv").stdout
        == "t,f\ntrue,false\n"
    )


def test_a_query_that_needs_too_much_memory_is_stopped_and_says_so(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_lake.sql.lake_sql._half_of_memory", lambda: 100 << 10)
    with (
        LakeSql(lake) as lake_sql,
        pytest.raises(QueryError, match="more than half of this machine"),
    ):
        list(
            lake_sql.ask(
                "SELECT count(*) FROM (SELECT DISTINCT range FROM range(20_000_000))"
            ).rows()
        )


def test_half_of_the_memory_is_the_limit(lake: LocalLake) -> None:
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with LakeSql(lake) as lake_sql:
        ((limit, folder),) = lake_sql.ask(
            "SELECT current_setting('memory_limit'), current_setting('temp_directory')"
        ).rows()
    number, unit = limit.split()
    scale = {"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[unit]
    assert float(number) * scale == pytest.approx(have / 2, rel=0.1)
    assert not folder


@contextmanager
def interrupted(code: str, lake: LocalLake, when: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``code`` on a lake, and press Ctrl-C when it has written ``when``; whatever happens, it ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BILLING_LAKE_HOME": str(lake.home)},
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{when}\n"
            process.send_signal(signal.SIGINT)
            yield process
        finally:
            process.kill()


def test_ctrl_c_ends_a_query_with_the_status_that_a_shell_expects(lake: LocalLake) -> None:
    code = (
        "import sys; from billing_lake.cli import main; from billing_lake.sql.lake_sql import LakeSql\n"
        "ask = LakeSql.ask\n"
        "def told(self, sql):\n"
        "    print('asks', flush=True)\n"
        "    return ask(self, sql)\n"
        "LakeSql.ask = told\n"
        "sys.argv = ['billing-lake', 'query', 'SELECT count(*) FROM range(100000000) a, range(100000000) b']\n"
        "main()"
    )
    with interrupted(code, lake, "asks") as process:
        assert process.wait(PATIENCE_SECONDS) == 130
        assert process.stderr is not None
        assert process.stderr.read().strip() == "Interrupted"


def test_ctrl_c_ends_a_query_whose_engine_is_importing_at_that_moment(lake: LocalLake) -> None:
    code = (
        "import sys, time; from billing_lake.cli import main; from billing_lake.sql.lake_sql import LakeSql\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        sys.meta_path.remove(self)\n"
        "        print('imports', flush=True)\n"
        "        time.sleep(2)\n"
        "ask = LakeSql.ask\n"
        "def told(self, sql):\n"
        "    sys.meta_path.insert(0, Slow())\n"
        "    return ask(self, sql)\n"
        "LakeSql.ask = told\n"
        "sys.argv = ['billing-lake', 'query', 'SELECT count(*) FROM range(100000000) a, range(100000000) b']\n"
        "main()"
    )
    with interrupted(code, lake, "imports") as process:
        assert process.wait(PATIENCE_SECONDS) == 130


def test_ctrl_c_ends_a_query_that_runs_before_its_thread_counts_as_started(lake: LocalLake) -> None:
    code = (
        "import sys, threading, time; from billing_lake.cli import main; from billing_lake.sql.lake_sql import LakeSql\n"
        "start, ask = threading.Thread.start, LakeSql.ask\n"
        "def started(self):\n"
        "    start(self)\n"
        "    time.sleep(1)\n"
        "    print('runs', flush=True)\n"
        "    time.sleep(3)\n"
        "def told(self, sql):\n"
        "    threading.Thread.start = started\n"
        "    return ask(self, sql)\n"
        "LakeSql.ask = told\n"
        "sys.argv = ['billing-lake', 'query', 'SELECT count(*) FROM range(100000000) a, range(100000000) b']\n"
        "main()"
    )
    with interrupted(code, lake, "runs") as process:
        assert process.wait(PATIENCE_SECONDS) == 130


def test_without_credentials_a_list_on_aws_is_one_diagnosis(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings: Mapping[str, str] = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_DEFAULT_REGION": "eu-central-1",
        "BILLING_LAKE_LANDING_BUCKET": "landing",
        "BILLING_LAKE_WAREHOUSE": "s3://warehouse/lake",
        "BILLING_LAKE_TABLE_BUCKET_ARN": "arn:aws:s3tables:eu-central-1:111122223333:bucket/tables",
        "BILLING_LAKE_ENGINE": "polars",
    }
    result = Runner(tmp_path)("query", "--deployment", "aws", "--list", env=dict(settings))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert flat(result.stderr).count("AWS credentials") == 1
    assert "AWS_PROFILE" in result.stderr
