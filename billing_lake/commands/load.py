"""`billing-lake load`: from a folder or a bucket to proven tables, in one command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from billing_lake.commands import options
from billing_lake.commands.home import require_writable
from billing_lake.commands.inspect import is_bucket, open_storage, show_found
from billing_lake.commands.left_out import (
    error_values,
    left_out_values,
    require_exports,
    show_left_out,
    unloaded_values,
)
from billing_lake.commands.load_output import (
    LOAD_LOG,
    show_broken,
    show_next,
    show_warnings,
)
from billing_lake.commands.terminal import (
    EXIT_FAILED,
    console,
    kept_stdout,
    output_into,
    typed_path,
)
from billing_lake.domain.errors import (
    BillingLakeError,
    ConfigurationError,
    NoDeliveryError,
    counted,
    shown,
)

if TYPE_CHECKING:
    from rich.console import Console

    from billing_lake.commands.load_results import LoadResult
    from billing_lake.commands.load_warnings import LoadWarning
    from billing_lake.commands.loading import Task
    from billing_lake.commands.own_exports import BrokenExport, Chosen, OwnExport
    from billing_lake.deployments import Lake
    from billing_lake.landing.found_exports import FoundExport, Inspection

_NAMED_EXPORTS = 12
_OUTPUTS = ("hive", "iceberg", "s3_table")

_HELP = """Load what lies in a folder or a bucket (s3://bucket/folder) into tables that equal it.

Looks as `billing-lake inspect` does, asks, writes defs/EXPORT/defs.yaml for each export that has none, loads every month whose
tables do not hold its delivery through Dagster, and proves all of them. Run it again whenever you like: it loads what is new, and
proves the rest once more. No file is ever written over.

The files go into defs/ of the Dagster project around this folder, or of this folder; BILLING_LAKE_DEFS names another one. The
exit status is 0 only where everything is loaded, and equal.

\b
Examples:
  billing-lake load exports/
  billing-lake load s3://acme-billing-exports/finops --period 2025-03 --yes --json
"""


def _outputs(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    asked = [one.strip() for one in value.split(",") if one.strip()]
    for one in asked:
        if one not in _OUTPUTS:
            raise click.BadParameter(f"{one!r} is none of {', '.join(_OUTPUTS)}")
    return tuple(one for one in _OUTPUTS if one in asked)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The arguments of the command."""

    uri: str
    periods: tuple[str, ...]
    outputs: Any
    name: str
    yes: bool
    as_json: bool


@click.command(name="load", help=_HELP, short_help="Load a folder or a bucket into proven tables.")
@click.argument("uri")
@click.option(
    "--period", "periods", multiple=True, callback=options.checked_period,
    help="Billing period, YYYY-MM; may be given again. All unless given.",
)  # fmt: skip
@click.option(
    "--home", type=click.Path(path_type=Path), help="Folder of the lake; BILLING_LAKE_HOME, or ./lake."
)  # fmt: skip
@click.option(
    "--outputs", default="", callback=_outputs,
    help=f"Tables of new exports, with commas: of {', '.join(_OUTPUTS)}. All unless given.",
)  # fmt: skip
@click.option("--name", default="", help="Name of the export, where one is found.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def load_command(ctx: click.Context, /, home: Path | None, **asked: Any) -> None:
    """Load what lies at a URI."""
    wanted = _Asked(**asked)
    with _kept_environment(), kept_stdout() as stream:
        out = console(sys.stderr if wanted.as_json else stream)
        try:
            results, found, broken = _load(wanted, home, out)
        except BillingLakeError as error:
            if wanted.as_json:
                _print_json(stream, error_values(error))
            raise
        if wanted.as_json:
            values = [one.to_json() for one in results]
            values += left_out_values(found)
            values += [unloaded_values(one.fault, export=one.name) for one in broken]
            _print_json(stream, values)
    is_good = all(one.is_good for one in results) and not broken
    if not is_good or any(one.is_fault for one in found.unused):
        ctx.exit(EXIT_FAILED)


def _print_json(stream: TextIO, values: Any) -> None:
    stream.write(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def _kept_environment() -> Iterator[None]:
    """Take back what is set for the run of the command."""
    kept = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def _load(
    asked: _Asked, home: Path | None, out: Console
) -> tuple[list[LoadResult], Inspection, list[BrokenExport]]:
    from rich.markup import escape

    place = _settle(home)
    prefix = _deliver_from(asked.uri, place)
    with out.status("Starting Dagster …"):
        from billing_lake.commands.defs_folder import defs_folder
        from billing_lake.commands.load_results import show_results
        from billing_lake.commands.load_warnings import with_warnings
        from billing_lake.deployments import open_lake

        folder, lake = defs_folder(os.environ), open_lake()
    kept = lake.storage.stated_periods
    with nullcontext() if kept is None or place.exists() else kept.written_at_the_end():
        found, chosen, tasks, results = _look(lake, prefix, folder, asked, out)
        exports = [own for _, own in chosen.pairs]
        if not asked.yes:
            show_found(out, found)
        show_warnings(out, chosen.warnings)
        if not asked.yes:
            _ask(out, exports, tasks, place, asked)
        require_writable(place)
    for own in exports:
        lake.require(own.export.outputs, own.export.crawler)
    if exports:
        _note_landing(place)
    for own in exports:
        if own.text:
            own.write()
            out.print(f"[green]✓[/] wrote {escape(typed_path(own.file))}", soft_wrap=True)
    if tasks:
        results += _run(lake, place, exports, tasks, out)
    twice = _define_all_costs(lake, chosen.known, out)
    results = with_warnings(results, [*chosen.warnings, *twice])
    results.sort(key=lambda one: (one.export.name, one.period))
    show_left_out(out, found, chosen.pairs)
    if not asked.as_json:
        show_results(out, results)
    show_broken(out, chosen.broken)
    show_warnings(out, twice)
    if exports and not asked.as_json:
        show_next(out, place, folder, [one.export.table for one in results if one.tables])
    return results, found, chosen.broken


def _look(
    lake: Lake, prefix: str, folder: Path, asked: _Asked, out: Console
) -> tuple[Inspection, Chosen, list[Task], list[LoadResult]]:
    """Return what was found, what loads it, what is to be done, and what cannot be."""
    from billing_lake.commands.loading import faults_of, tasks_of
    from billing_lake.commands.own_exports import (
        WantedExport,
        choose_exports,
        exports_here,
        own_exports,
        without_files_of,
    )
    from billing_lake.landing.inspection import inspect

    with out.status("Looking …"):
        known, broken = own_exports(folder)
        here = exports_here(known, lake, prefix, asked.name)
        # The lake's own storage remembers what loose files hold: to find it again costs reading them again.
        uncounted = {one.export.name for one in here if not one.export.counts}
        found = inspect(lake.storage, prefix, [one.export.location for one in here], uncounted)
        found = without_files_of([one for one in known if one not in here], lake, found)
        require_exports(asked.uri, found, lake.storage)
        wanted = WantedExport(name=asked.name, outputs=asked.outputs)
        chosen = choose_exports(found.exports, (known, broken), folder, lake, wanted)
        tasks = [task for pair in chosen.pairs for task in tasks_of(lake, *pair, asked.periods)]
        faults = [one for pair in chosen.pairs for one in faults_of(lake, *pair, asked.periods)]
    if not broken:
        _require_periods(asked.periods, tasks, faults, chosen.pairs)
    return found, chosen, tasks, faults


def _settle(home: Path | None) -> Path:
    """Return the folder of the lake, or of its Dagster instance where the lake is elsewhere, and have everything use it.

    Raises:
        ConfigurationError: It is the demo's.
    """
    from billing_lake.deployments import HOME_SETTING
    from billing_lake.deployments.local import is_demo, own_home

    if home is not None:
        os.environ[HOME_SETTING] = str(home.expanduser().absolute())
    place = own_home(os.environ)
    if is_demo(place):
        what = "This is the lake of `billing-lake demo`, which takes no other export"
        raise ConfigurationError(what, file=str(place), remedy="Name another one with --home")
    os.environ[HOME_SETTING] = str(place)
    return place


def _deliver_from(uri: str, home: Path) -> str:
    """Have the lake take its deliveries from ``uri``, and return the folder in its storage that is meant.

    Raises:
        ConfigurationError: There is none, or it is no place that the deployment can load from.
    """
    from billing_lake.deployments import chosen_deployment
    from billing_lake.deployments.local import landing_folder
    from billing_lake.landing.local import LANDING_SETTING

    on_aws = chosen_deployment(os.environ) == "aws"
    if on_aws and not is_bucket(uri):
        what = f"{shown(uri)} is a folder, and the lake is on AWS"
        raise ConfigurationError(what, remedy="Name the bucket as s3://bucket/folder")
    _, prefix = open_storage(uri)
    if on_aws:
        from billing_lake.aws.settings import AwsSettings

        os.environ[str(AwsSettings.model_fields["landing_bucket"].alias)] = uri.split("/")[2]
        return prefix
    if is_bucket(uri):
        os.environ[LANDING_SETTING] = f"s3://{uri.split('/')[2]}"
        return prefix
    folder = Path(uri).expanduser().resolve()
    # What the lake has noted does not count: it is the place of another run.
    named = landing_folder(os.environ) if os.environ.get(LANDING_SETTING) else None
    landing = (named or home / "landing").resolve()
    if folder.is_relative_to(landing):
        inner = folder.relative_to(landing).as_posix()
        return "" if inner == "." else f"{inner}/"
    os.environ[LANDING_SETTING] = str(folder)
    return prefix


def _note_landing(home: Path) -> None:
    """Have the lake remember where this run takes its deliveries from, where that is outside of its folder."""
    from billing_lake.deployments import chosen_deployment
    from billing_lake.deployments.local import note_landing
    from billing_lake.landing.local import LANDING_SETTING

    landing = os.environ.get(LANDING_SETTING)
    if landing and chosen_deployment(os.environ) != "aws":
        note_landing(home, landing)


def _require_periods(
    periods: Sequence[str],
    tasks: Sequence[Task],
    results: Sequence[LoadResult],
    chosen: Sequence[tuple[FoundExport, OwnExport]],
) -> None:
    """Refuse billing periods that nothing was delivered for.

    Raises:
        NoDeliveryError: There are some.
    """
    known = {one.delivery.period for one in tasks} | {one.period for one in results}
    missing = [one for one in periods if one not in known]
    if missing:
        there = sorted({period for found, _ in chosen for period in found.findings.deliveries})
        have = f"; newest are {', '.join(there[-_NAMED_EXPORTS:])}" if there else ""
        what = f"No export has a delivery for {', '.join(missing)} to load{have}"
        raise NoDeliveryError(what, remedy="Leave out --period to load all")


def _ask(
    out: Console, exports: Sequence[OwnExport], tasks: Sequence[Task], home: Path, asked: _Asked
) -> None:
    """Ask whether to go on, where there is something to do, and leave the command where nobody says yes."""
    from rich.text import Text

    new = [one for one in exports if one.text]
    months = sum(one.crawl is None for one in tasks)
    if not new and not months:
        return
    for one in new:
        out.print(Text(f"\n{typed_path(one.file)}", style="bold"))
        out.print(Text(one.text.rstrip()), soft_wrap=True)
    write = f"write {counted(len(new), 'file')} and " if new else ""
    question = f"\n{write}load {counted(months, 'delivery', 'deliveries')} into {typed_path(home)}?"
    try:
        if click.confirm(f"\n{question.strip().capitalize()}", err=asked.as_json):
            return
        why = ""
    except click.Abort:
        why = " Where nobody can answer, give --yes."
        out.print()  # the question stands at the end of its line
    out.print(f"Nothing was written or loaded.{why}")
    click.get_current_context().exit(EXIT_FAILED)


def _run(
    lake: Lake, home: Path, exports: Sequence[OwnExport], tasks: Sequence[Task], out: Console
) -> list[LoadResult]:
    from billing_lake.commands.loading import Loading

    results = []
    with output_into(home / LOAD_LOG):
        loading = Loading(lake, home, exports)
        for number, task in enumerate(tasks, start=1):
            work = "loading and proving" if task.crawl is None else "proving"
            with out.status(f"{number} of {len(tasks)}: {task.label}: {work} …"):
                results.append(loading.do(task))
            if task.crawl is None:
                one = results[-1]
                mark = "[green]✓[/]" if one.is_good else "[red]✗[/]"
                rows = "" if one.rows is None else f", {counted(one.rows, 'row')}"
                out.print(f"{mark} {number} of {len(tasks)}: {task.label}{rows}, {one.outcome}")
    return results


def _define_all_costs(lake: Lake, exports: Sequence[OwnExport], out: Console) -> list[LoadWarning]:
    """Define the view of all costs, and return what it counts twice.

    It is no part of a load: a table that cannot be read has been told of with its month.
    """
    from rich.text import Text

    from billing_lake.commands.load_warnings import define_all_costs

    try:
        return define_all_costs(lake, [one.export for one in exports])
    except BillingLakeError as error:
        out.print(Text(f"all_costs is as it was: {error}", style="dim"), soft_wrap=True)
        return []
