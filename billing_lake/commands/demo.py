"""`billing-lake demo`: three months of sample deliveries, loaded and proved through Dagster, for somebody new to it.

The story has what makes billing data hard: a month that is delivered again with other costs and one file fewer, and a
column that was not there before. Months and figures are the same on every machine and every day.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from billing_lake.commands.home import local_lake, require_sample, require_writable
from billing_lake.commands.terminal import console, kept_stdout, programs_write_to
from billing_lake.domain.errors import BillingLakeError, LoadError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from billing_lake.assets.export import Export
    from billing_lake.commands.demo_report import Chapter, Told
    from billing_lake.commands.demo_runs import Project
    from billing_lake.deployments import LocalLake
    from billing_lake.sample import SampleSpec

COMPONENT = "cost_and_usage"
"""The example export: a folder of `defs/`."""

LOG = "demo.log"


@click.command(short_help="Load three months of sample deliveries, and prove them.")
@click.option(
    "--rows", type=click.IntRange(min=1), default=20_000, show_default=True, help="Rows per month."
)
def demo(rows: int) -> None:
    """Make three months of sample deliveries, load them through Dagster, prove the tables and show what they hold.

    It may be run again: the same deliveries then replace themselves.
    """
    with kept_stdout() as stream:
        out = console(stream)
        out.print("[bold]Billing Lake[/]: three months of sample deliveries, loaded and proved")
        with out.status("Starting Dagster …"):
            _hurry_spark()
            lake = local_lake()
        require_writable(lake.home)
        log = lake.home / LOG
        with log.open("w", encoding="utf-8") as file, ExitStack() as quiet:
            # Dagster writes its log to the terminal, and so does Spark; there is more of it than anybody wants to read.
            quiet.enter_context(redirect_stdout(file))
            quiet.enter_context(redirect_stderr(file))
            quiet.enter_context(programs_write_to(file))
            try:
                project, story = _load(out, lake, rows)
            except LoadError as error:
                raise _with_log(error, log) from error
        _report(out, lake, project.export, story)
        _next(out, lake, project.export, log)


def _hurry_spark() -> None:
    """Have the JVM of a demo compile lightly: its months are over before the optimising compiler has earned what it costs."""
    from billing_lake.deployments import chosen_deployment

    if chosen_deployment(os.environ) == "local_spark":
        from billing_lake.resources.spark import SETTINGS

        light = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        os.environ.setdefault(SETTINGS, json.dumps({"spark.driver.extraJavaOptions": light}))


def chapters() -> tuple[Chapter, ...]:
    """Return the demo's story."""
    from billing_lake.commands.demo_report import Chapter

    return (
        Chapter(period="2025-01", title="the first"),
        Chapter(period="2025-02", title="the first"),
        Chapter(
            period="2025-02",
            title="restated: costs corrected, one file fewer",
            restatement=1,
        ),
        Chapter(
            period="2025-03", title="with a new tag column, Project", extra_tags=("user:Project",)
        ),
    )


def sample_spec(export: Export, rows: int) -> SampleSpec:
    """Return what the sample deliveries of ``export`` look like."""
    from billing_lake.sample import SampleSpec

    where = export.location
    return SampleSpec(
        layout=where.layout, prefix=where.prefix, report=where.report or "cost-and-usage", rows=rows
    )


def _load(out: Console, lake: LocalLake, rows: int) -> tuple[Project, list[Told]]:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with out.status("Starting Dagster …"):
        from billing_lake.commands.demo_runs import Project

        project = Project(lake.home, COMPONENT)
    for chapter in chapters():
        require_sample(lake.home / "landing", project.export.location, chapter.period)
    columns = (
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[step]}", style="dim"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, disable=not out.is_terminal) as bars:
        return project, [_tell(out, bars, lake, project, chapter, rows) for chapter in chapters()]


def _tell(
    out: Console, bars: Progress, lake: LocalLake, project: Project, chapter: Chapter, rows: int
) -> Told:
    from billing_lake.commands.demo_report import Told
    from billing_lake.sample import write_delivery

    label = f"{chapter.period} {'restated' if chapter.restatement else 'first'}"
    task = bars.add_task(label, total=project.steps + 1, step="writing the delivery")
    delivery = write_delivery(
        lake.home / "landing",
        chapter.period,
        sample_spec(project.export, rows),
        restatement=chapter.restatement,
        extra_tags=chapter.extra_tags,
    )
    bars.advance(task)

    def tick(step: str, done: int) -> None:
        bars.update(task, step=step, advance=done)

    run = project.run(chapter.period, tick)
    done = f"{delivery.rows:,} rows, {len(delivery.files)} files, {len(run.loads)} tables"
    bars.update(task, step=done)
    if not out.is_terminal:
        out.print(f"{label}: {done}, {run.seconds:.1f} s")
    return Told(chapter=chapter, delivery=delivery, run=run)


def _with_log(error: LoadError, log: Path) -> BillingLakeError:
    remedy = ". ".join(part for part in (error.how, f"The full log is {log}") if part)
    return type(error)(error.what, remedy=remedy, file=error.file)


def _report(out: Console, lake: LocalLake, export: Export, story: list[Told]) -> None:
    from billing_lake.commands import demo_report as report
    from billing_lake.commands.lake_sql import LakeSql

    with LakeSql(lake) as lake_sql:
        latest = {told.chapter.period: told for told in story}
        for told in latest.values():
            report.prove(lake_sql, export.table, told)
        report.print_loaded(out, story)
        report.print_proofs(out, list(latest.values()))
        report.print_schema_diff(out, story[-1])
        report.print_services(out, lake_sql, export.table)


def _next(out: Console, lake: LocalLake, export: Export, log: Path) -> None:
    from billing_lake.commands.demo_report import heading
    from billing_lake.deployments import DEPLOYMENT_SETTING, HOME_SETTING, chosen_deployment

    called = Path(sys.argv[0])
    command = str(called) if called.name == "billing-lake" else "billing-lake"
    if called.is_absolute() and called.is_relative_to(Path.cwd()):
        command = str(called.relative_to(Path.cwd()))
    where = export.location
    heading(out, "Next")
    lines = [
        ("See the runs, tables and checks", "make dev, then http://localhost:3000"),
        ("Ask the tables", f"{command} query --named cost-by-day --period 2025-03"),
        ("", f'{command} query "SELECT * FROM {export.table} LIMIT 3"'),  # noqa: S608 -- shown, not run
        ("Load your own report", f"copy it below {lake.home / 'landing' / where.folder}"),
        ("", f"describe it in billing_lake/defs/{COMPONENT}/defs.yaml ({where.layout} now)"),
        ("", f"materialize {export.name} for its months in the UI, or switch its sensor on"),
        ("Dagster's log of this", str(log)),
    ]
    settings = []
    if (chosen := chosen_deployment(os.environ)) != "local":
        settings.append(f"{DEPLOYMENT_SETTING}={chosen}")
    if lake.home != Path("lake").absolute():
        settings.append(f"{HOME_SETTING}={lake.home}")
    if settings:
        lines.insert(0, ("First", f"export {' '.join(settings)}"))
    for title, text in lines:
        out.print(f"  {title:<33}{text}", soft_wrap=True, markup=False)
