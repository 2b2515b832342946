"""`billing-lake demo`: three months of sample deliveries, loaded and proved through Dagster, for somebody new to it.

The story has what makes billing data hard: a month that is delivered again with other costs and one file fewer, of which an
alert tells, and a column that was not there before. Months and figures are the same on every machine and every day.

It keeps to a lake of its own, beside the user's, with an export of its own: whatever a user loads, no demo touches it.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from billing_lake.commands.home import require_own_home, require_writable
from billing_lake.commands.terminal import (
    console,
    kept_stdout,
    output_into,
    typed_path,
    typed_program,
)
from billing_lake.domain.errors import ConfigurationError, LoadError, counted

if TYPE_CHECKING:
    from rich.console import Console

    from billing_lake.assets.export import DagsterExport
    from billing_lake.commands.demo_report import Chapter, LoadedChapter
    from billing_lake.deployments import LocalLake
    from billing_lake.sample import SampleDelivery, SampleSpec

DEMO_LOG = "demo.log"

_ABOUT = """This is the lake of `billing-lake demo`: sample data, which every demo writes anew. Delete it whenever you like.
"""


@click.command(short_help="Load three months of sample deliveries, and prove them.")
@click.option(
    "--rows", type=click.IntRange(min=1), default=20_000, show_default=True, help="Rows per month."
)
def demo(rows: int) -> None:
    """Make three months of sample deliveries, load them through Dagster, prove the tables and show what they hold.

    It ends with how the restated month came about, and with the alert that it is worth.

    The lake is one of its own, `<lake>-demo`. It may be run again: the same deliveries then replace themselves.
    """
    with kept_stdout() as stream:
        out = console(stream)
        out.print("[bold]Billing Lake[/]: three months of sample deliveries, loaded and proved")
        with out.status("Starting Dagster …"):
            asked, own = dict(os.environ), require_own_home()
            _compile_lightly()
            lake = _open(own)
        log = lake.home / DEMO_LOG
        try:
            with output_into(log):
                export, story, told = _load(out, lake, rows)
        except LoadError as error:
            remedy = ". ".join(part for part in (error.how, f"The full log is {log}") if part)
            raise type(error)(error.what, remedy=remedy, file=error.file) from error
        _report(out, lake, export, story, told)
        _next(out, lake, export.table, log, asked)
        _own(out, own, asked)


def _open(own: Path) -> LocalLake:
    """Make the demo's lake beside ``own``, or open the one that an earlier demo made.

    Raises:
        ConfigurationError: There is a folder that no demo made.
    """
    from billing_lake.deployments import HOME_SETTING, LocalLake, open_lake
    from billing_lake.deployments.local import DEMO_MARK, demo_home, is_demo
    from billing_lake.tables.relocation import relocate

    home = demo_home(own)
    if not is_demo(home):
        if home.is_dir() and any(home.iterdir()):
            what = "The demo keeps to a lake of its own, and did not make what is in this folder"
            remedy = "Move the folder away, or set BILLING_LAKE_HOME to another one"
            raise ConfigurationError(what, file=str(home), remedy=remedy)
        require_writable(home)
        (home / DEMO_MARK).write_text(_ABOUT, encoding="utf-8")
    require_writable(home)
    # The demo's lake follows the checkout that it lies in, wherever that is moved to.
    relocate(home, log=lambda _: None)
    os.environ[HOME_SETTING] = str(home)
    lake = open_lake()
    assert isinstance(lake, LocalLake)  # noqa: S101  # `require_own_home` refuses the others
    return lake


def _compile_lightly() -> None:
    """Make the JVM of a demo compile lightly: its months are too short for the optimising compiler to save time."""
    from billing_lake.deployments import chosen_deployment

    if chosen_deployment(os.environ) == "local_spark":
        from billing_lake.resources.spark import SETTINGS

        light = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        os.environ.setdefault(SETTINGS, json.dumps({"spark.driver.extraJavaOptions": light}))


def demo_chapters() -> tuple[Chapter, ...]:
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


def _restated() -> str:
    """Return the month that the story restates."""
    return next(one.period for one in demo_chapters() if one.restatement)


def sample_spec(export: DagsterExport, rows: int) -> SampleSpec:
    """Return what the sample deliveries of ``export`` look like."""
    from billing_lake.formats.keys import plain_key
    from billing_lake.sample import SampleSpec

    where = export.location
    return SampleSpec(
        layout=where.layout,
        prefix=plain_key(where.prefix),
        report=where.report or "cost-and-usage",
        rows=rows,
    )


def _load(
    out: Console, lake: LocalLake, rows: int
) -> tuple[DagsterExport, list[LoadedChapter], list[str]]:
    """Load the deliveries, and return what was loaded and which alerts were told of it."""
    with out.status("Starting Dagster …"):
        from billing_lake.assets.all_costs import ALL_COSTS_KEY
        from billing_lake.commands.demo_alerts import DemoAlerts
        from billing_lake.commands.demo_report import LoadedChapter
        from billing_lake.commands.runs import Project
        from billing_lake.components.demo_export import demo_export
        from billing_lake.definitions import defs
        from billing_lake.landing.deliveries import resolve_delivery
        from billing_lake.sample import OwnSamples, write_delivery

        export = demo_export().export
        project = Project(lake.home, defs())
        alerts = DemoAlerts(project)
    location, landing = export.location, lake.home / "landing"
    samples = OwnSamples(landing, location.prefix)
    samples.require()
    story = []
    for chapter in demo_chapters():
        label = f"{chapter.period} {'restated' if chapter.restatement else 'first'}"
        with out.status(f"{label}: writing the delivery, loading and proving it …"):
            delivery = write_delivery(
                landing,
                chapter.period,
                sample_spec(export, rows),
                restatement=chapter.restatement,
                extra_tags=chapter.extra_tags,
                own=OwnSamples(landing, location.prefix),
            )
            _date(delivery)
            if chapter.restatement:
                alerts.forget()
            run = project.run(export, resolve_delivery(lake.storage, location, chapter.period))
        if run.fault is not None:
            raise LoadError(f"The run for {chapter.period} failed. {run.fault.text}")
        files, tables = len(delivery.files), len(run.tables)
        what = f"{counted(delivery.rows, 'row')}, {counted(files, 'file')}, {tables} tables"
        out.print(f"[green]✓[/] {label}: {what}, {run.seconds:.1f} s")
        story.append(LoadedChapter(chapter=chapter, delivery=delivery, run=run))
    with out.status("all_costs: making the view over all exports …"):
        # One export alone makes the graph whole, and `billing.all_costs` can be asked.
        project.materialize(ALL_COSTS_KEY)
    return export, story, alerts.messages()


def _date(delivery: SampleDelivery) -> None:
    """Give the files of a sample the time of its delivery, as a copy of a bucket has it: states of months are read from that."""
    at = datetime.strptime(delivery.version, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    manifests = () if delivery.manifest is None else delivery.manifest.parent.rglob("*.json")
    for path in (*delivery.files, *manifests):
        os.utime(path, (at.timestamp(), at.timestamp()))


def _report(
    out: Console,
    lake: LocalLake,
    export: DagsterExport,
    story: list[LoadedChapter],
    told: list[str],
) -> None:
    from billing_lake.commands import demo_report as report
    from billing_lake.sql.lake_sql import LakeSql

    with LakeSql(lake) as lake_sql:
        latest = {one.chapter.period: one for one in story}
        for one in latest.values():
            report.prove_chapter(lake_sql, export.table, one)
        report.print_loaded(out, story)
        report.print_proofs(out, list(latest.values()))
        report.print_schema_diff(out, story[-1])
        report.print_services(out, lake_sql, export.table)
    report.print_story(out, lake, _restated())
    report.print_alerts(out, told)


def _next(out: Console, lake: LocalLake, table: str, log: Path, asked: Mapping[str, str]) -> None:
    from billing_lake.commands.demo_report import heading
    from billing_lake.deployments.local import home_folder

    command = typed_program()
    shell = _needed(asked, lake.home, home_folder(asked))
    heading(out, "Next")
    lines = [
        ("See the runs, tables and checks", f"{shell}make dev", "then http://localhost:3000"),
        ("Ask the tables", f"{shell}{command} query --named cost-by-day --period 2025-03", ""),
        ("", f"{shell}{command} query --named cost-by-service --table {table}", ""),
        ("See how months came about", f"{shell}{command} months", ""),
        ("", f"{shell}{command} restatements {_restated()}", ""),
        ("Dagster's log of this", typed_path(log), ""),
        ("Be rid of all this", f"rm -r {typed_path(lake.home)}", ""),
    ]
    for title, text, then in lines:
        out.print(f"  {title:<33}{text}{then and f', {then}'}", soft_wrap=True, markup=False)


def _own(out: Console, home: Path, asked: Mapping[str, str]) -> None:
    from billing_lake.commands.demo_report import heading
    from billing_lake.deployments import HOME_SETTING, local

    heading(out, f"Load reports of your own, into a lake of your own, {typed_path(home)}")
    shell = _needed(asked, home, local.own_home({**asked, HOME_SETTING: ""}))
    lines = [
        (
            f"{shell}{typed_program()} load FOLDER_OR_BUCKET",
            "a copy of a bucket, or s3://bucket/folder",
        ),
        (f"{shell}make dev", "then http://localhost:3000"),
    ]
    for text, note in lines:
        out.print(f"  {text}    # {note}", soft_wrap=True, markup=False)


def _needed(environment: Mapping[str, str], home: Path, found: Path) -> str:
    """Return what has to stand before a command that would work on the lake ``found``, so that it works on ``home``."""
    from billing_lake.deployments import DEPLOYMENT_SETTING, HOME_SETTING, chosen_deployment

    settings: dict[str, str] = {}
    if (chosen := chosen_deployment(environment)) != "local":
        settings[DEPLOYMENT_SETTING] = chosen
    if found != home:
        settings[HOME_SETTING] = typed_path(home)
    return "".join(f"{name}={shlex.quote(value)} " for name, value in settings.items())
