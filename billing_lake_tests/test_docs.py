"""The documentation: its commands work, and its table of settings is whole."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import billing_lake
from billing_lake.components import BillingExport
from billing_lake.deployments import LocalLake
from billing_lake.sample import write_delivery
from billing_lake_tests.lakes import SPEC
from billing_lake_tests.prepared import Prepared

ROOT = Path(billing_lake.__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
EXPORT = "cost_and_usage"
PERIODS = ("2025-01", "2025-02", "2025-03")
MATERIALIZE = (
    ".venv/bin/dagster asset materialize -m billing_lake.definitions --select 'group:<export>'"
)

RUN = (
    f"{MATERIALIZE} --partition 2025-03",
    f"{MATERIALIZE} --partition-range '2025-01...2025-03'",
    ".venv/bin/billing-lake query --named cost-by-service --period 2025-03",
    "billing-lake query --list --paths",
    "dagster instance concurrency set billing_lake_engine 5",
)
"""Commands that are run here, in this order."""

ELSEWHERE = {
    "dg list components": "test_own_project.py",
    "dg scaffold defs billing_lake.components.BillingExport acme --layout create-new --prefix billing --report daily": (
        "test_own_project.py"
    ),
    "dg check defs": "test_own_project.py",
    "dg launch --job acme_load --partition 2025-03": "test_own_project.py runs the job",
    "dg launch --assets …": "names what one had better not type",
    "billing-lake query --named cost-by-service --sql": "commands/test_query_refusals.py",
    "billing-lake query --named cost-by-service --table focus_daily --period 2025-03": (
        "assets/test_all_costs.py asks tables of FOCUS"
    ),
    "billing-lake query --named cost-by-day --table all_costs": "assets/test_all_costs.py",
    'billing-lake query "DESCRIBE …"': "commands/test_query.py",
    "dagster dev -m billing_lake.definitions": "serves until it is stopped; test_own_project.py loads the same",
    "billing-lake alerts test": "commands/test_alerts.py",
    "billing-lake demo": "test_demo.py",
    "billing-lake sample": "test_sample.py",
    "billing-lake months": "commands/test_months.py",
    "billing-lake restatements 2025-03": "commands/test_months.py",
    "billing-lake inspect exports": "test_inspect.py",
    "billing-lake load exports": "test_load.py",
    "billing-lake load FOLDER_OR_BUCKET": "commands/test_demo.py follows it",
    "billing-lake load": "names the command of the line above",
    ".venv/bin/billing-lake": "says where the command lies",
    'billing-lake query "SELECT export_name, billing_period, billingcurrency, sum(billedcost) FROM billing.all_costs GROUP BY ALL"': (
        "assets/test_all_costs.py asks the same view"
    ),
    "billing-lake query": "names what needs a right; the commands above are whole",
    "billing-lake query --deployment aws --named cost-by-service --period 2025-03": "needs AWS",
}
"""Commands that are not run here, and why."""

_COMMAND = re.compile(r"(?:\w+=\S+ )*(?:\.venv/bin/|billing-lake |dagster |dg |make )")


def commands() -> set[str]:
    """Return every command that the pages name."""
    found = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fences = re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)
        blocks = [block for language, block in fences if not language]
        inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for line in (*(line for block in blocks for line in block.splitlines()), *inline):
            command = re.sub(r"\s+#.*", "", line).strip()
            if _COMMAND.match(command) and not command.endswith("/python"):
                found.add(command)
    return found


def test_every_command_is_run_or_said_to_be_run_elsewhere() -> None:
    assert {one for one in commands() if "make " not in one} == {*RUN, *ELSEWHERE}


def test_every_target_of_make_exists() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {one.rpartition("make ")[2].split()[0] for one in commands() if "make " in one}
    assert targets
    assert targets <= {*phony.split()}


def test_the_commands_of_the_pages_load_and_show_what_they_say(
    prepared: Prepared, tmp_path: Path
) -> None:
    lake = LocalLake(tmp_path / "lake")
    for period in PERIODS:
        write_delivery(lake.home / "landing", period, replace(SPEC, report="cost-and-usage"))
    (tmp_path / "dagster").mkdir()
    environment = {name: value for name, value in os.environ.items() if "BILLING_LAKE" not in name}
    environment |= {
        "BILLING_LAKE_HOME": str(lake.home),
        "DAGSTER_HOME": str(tmp_path / "dagster"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }

    def typed(program: Path, *arguments: str) -> str:
        done = prepared.run([str(program), *arguments], environment=environment, cwd=ROOT)
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{done.args}\n{said[-6_000:]}"
        return said

    said = []
    for command in RUN:
        first, *rest = shlex.split(command.replace("<export>", EXPORT))
        said.append(typed(Path(sys.executable).with_name(Path(first).name), *rest))
    for catalog in (lake.hive, lake.iceberg, lake.s3_tables):
        assert catalog.periods(f"billing.{EXPORT}", EXPORT) == PERIODS
    assert "equals_delivery" in said[0]
    assert "AmazonEC2" in said[2]

    pages = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", pages, re.DOTALL)
    (removal,) = (snippet for snippet in snippets if "open_lake()" in snippet)
    program = "\n".join(line.removeprefix("   ") for line in removal.splitlines())
    script = tmp_path / "removal.py"
    script.write_text(program.replace("acme", EXPORT), encoding="utf-8")
    typed(script)
    for catalog in (lake.hive, lake.iceberg, lake.s3_tables):
        assert not [name for name in catalog.tables() if EXPORT in name]
    assert not list(lake.files.list(f"{lake.values.root}/{EXPORT}"))


def test_the_table_of_settings_has_each_setting_once() -> None:
    text = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
    table = text[text.index("| setting | value | default |") : text.index("## Loading")]
    assert sorted(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == sorted(
        BillingExport.model_fields
    )
