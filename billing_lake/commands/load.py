"""`billing-lake load`: from a folder or a bucket with exports to proven tables, in one command.

It writes the settings of what it finds, loads through Dagster what the tables do not hold yet, and reads every table back.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from billing_lake.commands.home import own_home, require_writable
from billing_lake.commands.inspect import open_storage, show, yaml_of
from billing_lake.commands.results import as_text
from billing_lake.commands.terminal import console, kept_stdout, programs_write_to
from billing_lake.domain.errors import (
    BillingLakeError,
    ConfigurationError,
    NoDeliveryError,
    shown,
)
from billing_lake.domain.periods import is_period

if TYPE_CHECKING:
    from rich.console import Console

    from billing_lake.assets.export import Export
    from billing_lake.commands.demo_runs import Project
    from billing_lake.deployments import Lake
    from billing_lake.domain.deliveries import Delivery
    from billing_lake.formats.layouts import KeyRules
    from billing_lake.landing.inspection import FoundExport

LOG = "load.log"

_DEFS = "defs"
_HELP = """Load every export that lies in a folder or a bucket into tables, and prove that they equal it.

What is found is shown as by `inspect`; after a yes, the settings of each export are written to <defs>/<export>/defs.yaml, where no
file is ever overwritten. Then each month that the tables do not hold yet is loaded through Dagster and read back. Run it again to load
what is new. <defs> is BILLING_LAKE_DEFS, or ./defs.

\b
Examples:
  billing-lake load exports/
  billing-lake load exports/ --period 2025-03 --outputs iceberg --yes --json
"""


@dataclass(kw_only=True)
class Outcome:
    """What became of one delivery.

    Attributes:
        export: The export.
        delivery: The delivery.
        is_new: Whether it was loaded now; else the tables held it already.
        rows: Rows of its files; None where it was not loaded.
        totals: Exact totals of the raw files, by currency and column.
        tables: Rows of each table, and whether all of its figures equal the raw files'.
        error: Why it was not loaded or proved.
    """

    export: Export
    delivery: Delivery
    is_new: bool = True
    rows: int | None = None
    totals: dict[str, dict[str, str]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: BillingLakeError | None = None

    @property
    def is_equal(self) -> bool:
        """Whether all tables were read back and equal the delivery."""
        return (
            self.error is None
            and bool(self.tables)
            and all(one["equal"] for one in self.tables.values())
        )

    def as_values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        error = self.error
        return {
            "export": self.export.name,
            "format": self.delivery.format,
            "layout": self.delivery.layout,
            "period": self.delivery.period,
            "version": self.delivery.version,
            "files": len(self.delivery.files),
            "rows": self.rows,
            "totals": self.totals,
            "tables": self.tables,
            "error": None
            if error is None
            else {
                "class": type(error).__name__,
                "text": error.what,
                "file": error.file,
                "remedy": error.how,
            },
        }


def _are_periods(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not is_period(value):
            raise click.BadParameter(f"{value!r} is no billing period; write it YYYY-MM")
    return values


def _are_outputs(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    from billing_lake.loads.exports import TABLE_OUTPUTS

    for name in [] if value is None else value.split(","):
        if name not in TABLE_OUTPUTS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(TABLE_OUTPUTS)}")
    return value


@click.command(help=_HELP, short_help="Load the exports of a folder or a bucket, and prove them.")
@click.argument("uri")
@click.option("--yes", is_flag=True, help="Write the settings without asking.")
@click.option(
    "--period",
    "periods",
    multiple=True,
    callback=_are_periods,
    help="Load this month only, YYYY-MM; repeatable.",
)
@click.option("--home", type=click.Path(path_type=Path), help="Folder of the lake.")
@click.option(
    "--outputs",
    callback=_are_outputs,
    help="Tables of new exports: hive,iceberg,s3_table; all unless given.",
)
@click.option("--name", help="Name of the export, where only one is found.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def load(
    ctx: click.Context,
    uri: str,
    *,
    yes: bool,
    periods: tuple[str, ...],
    home: Path | None,
    outputs: str | None,
    name: str | None,
    as_json: bool,
) -> None:
    """Load what lies at ``uri``."""
    with kept_stdout() as stream:
        out = console(sys.stderr if as_json else stream)
        folder = _settings(uri, home)
        found = _find(out, uri, name)
        exports = _set_up(out, found, folder, outputs, ask=not yes)
        outcomes = list(_load(out, exports, periods))
        if as_json:
            values = [one.as_values() for one in outcomes]
            stream.write(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
        else:
            _report(out, outcomes)
            _next(out)
        held_up = [note for one, _ in exports for note in one.findings.notes]
        if held_up or not all(one.is_equal for one in outcomes):
            ctx.exit(1)


def _find(out: Console, uri: str, name: str | None) -> tuple[FoundExport, ...]:
    """Return what lies at ``uri``, after showing it.

    Raises:
        NoDeliveryError: There is no export.
        ConfigurationError: One name is given, and several exports are there.
    """
    from dataclasses import replace

    from billing_lake.landing.inspection import inspect

    storage, prefix = open_storage(uri)
    found = inspect(storage, prefix)
    show(out, uri, found, with_settings=False)
    if not found.exports:
        reasons = "; ".join(f"{one.why}: {shown(one.keys[0])}" for one in found.unused[:3])
        what = f"There is no export in {shown(uri)}" + (
            f": {reasons}" if reasons else ", it is empty"
        )
        raise NoDeliveryError(what, remedy="Name the folder above the exports' own folders")
    if name is None:
        return found.exports
    if len(found.exports) > 1:
        names = ", ".join(one.location.name for one in found.exports)
        what = f"--name names one export, and {len(found.exports)} are here: {names}"
        raise ConfigurationError(what, remedy="Leave --name out, or name the folder of one of them")
    (one,) = found.exports
    return (replace(one, location=replace(one.location, name=name)),)


def _settings(uri: str, home: Path | None) -> Path:
    """Let the lake and the landing area be what the command says; return the folder of the exports' settings.

    Raises:
        ConfigurationError: The deployment reads another place.
    """
    from billing_lake.definitions import DEFS_SETTING
    from billing_lake.deployments import DEPLOYMENT_SETTING, HOME_SETTING, chosen_deployment
    from billing_lake.landing.local import LANDING_SETTING

    if home is not None:
        os.environ[HOME_SETTING] = str(home.absolute())
    if chosen_deployment(os.environ) == "aws":
        bucket = os.environ.get("BILLING_LAKE_LANDING_BUCKET", "")
        if uri.removeprefix("s3://").partition("/")[0] != bucket or not uri.startswith("s3://"):
            what = (
                f"This deployment reads the bucket {shown(bucket)!r}, and {shown(uri)} is elsewhere"
            )
            raise ConfigurationError(what, remedy="Set BILLING_LAKE_LANDING_BUCKET to its bucket")
    elif uri.startswith("s3://"):
        what = "A lake of this machine reads exports from a folder of this machine"
        remedy = f"Copy the bucket to a folder and load that, or set {DEPLOYMENT_SETTING} to aws (docs/deployments.md)"
        raise ConfigurationError(what, remedy=remedy)
    else:
        os.environ[HOME_SETTING] = str(own_home())
        os.environ[LANDING_SETTING] = str(Path(uri).expanduser().absolute())
    folder = Path(os.environ.get(DEFS_SETTING) or _DEFS).expanduser().absolute()
    require_writable(folder)
    os.environ[DEFS_SETTING] = str(folder)
    return folder


def _set_up(
    out: Console, found: Sequence[FoundExport], folder: Path, outputs: str | None, *, ask: bool
) -> list[tuple[FoundExport, Export]]:
    """Write the settings that are missing; return each export with its settings as they are.

    Raises:
        ConfigurationError: A file of settings describes another export, or nobody said yes.
    """
    known = _exports()
    missing = [one for one in found if one.location.rules not in known]
    taken = [file for one in missing if (file := _file(folder, one)).exists()]
    if taken:
        what = f"{taken[0]} describes another export than the one that was found here"
        raise ConfigurationError(what, remedy="Choose another name with --name", file=str(taken[0]))
    if missing and ask:
        paths = ", ".join(str(_file(folder, one)) for one in missing)
        if not click.confirm(f"Write {paths}?", default=True, err=True):
            raise ConfigurationError("Nothing was written or loaded", remedy="Use --yes to agree")
    more = {"outputs": outputs.split(",")} if outputs else {}
    for one in missing:
        file = _file(folder, one)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(yaml_of(one, more))
        out.print(f"[green]✓[/] wrote {file}", soft_wrap=True)
    known = _exports()
    return [(one, known[one.location.rules]) for one in found]


def _exports() -> dict[KeyRules, Export]:
    """Return the exports that are set up, by where their files lie."""
    import dagster as dg

    from billing_lake.assets.export import knowingly
    from billing_lake.components import BillingExport
    from billing_lake.definitions import exports_folder

    module = exports_folder(os.environ)
    if not any(Path(module.__path__[0]).rglob("defs.yaml")):
        return {}  # Dagster takes a folder without any for a mistake
    tree = dg.ComponentTree.from_module(module, Path(module.__path__[0]).parent)
    with knowingly(dg.BetaWarning, dg.PreviewWarning, DeprecationWarning):
        exports = [one.export for one in tree.get_all_components(BillingExport)]
    return {one.location.rules: one for one in exports}


def _file(folder: Path, found: FoundExport) -> Path:
    return folder / found.location.name / "defs.yaml"


def _load(
    out: Console, exports: Sequence[tuple[FoundExport, Export]], periods: Sequence[str]
) -> Iterator[Outcome]:
    """Yield the outcome of each delivery, once it is loaded and proved."""
    with out.status("Starting Dagster …"):
        from billing_lake.commands.demo_runs import Project
        from billing_lake.deployments import open_lake

        home = own_home() if os.environ.get("BILLING_LAKE_DEPLOYMENT") != "aws" else Path("lake")
        require_writable(home)
        lake = open_lake()
    with _quietly(home / LOG):
        for found, export in exports:
            project = Project(home, export)
            deliveries = sorted(found.findings.deliveries.items())
            for period, delivery in deliveries:
                if periods and period not in periods:
                    continue
                with out.status(f"{export.name} {period}: loading and proving …"):
                    outcome = _one(lake, project, export, delivery)
                _progress(out, outcome)
                yield outcome


def _one(lake: Lake, project: Project, export: Export, delivery: Delivery) -> Outcome:
    from billing_lake.domain.crawls import Crawl
    from billing_lake.loads import tables_of
    from billing_lake.loads.prove import prove
    from billing_lake.sensors.new_reports import held_by_all

    outcome = Outcome(export=export, delivery=delivery)
    try:
        outcome.is_new = held_by_all(lake, export).get(delivery.period) != delivery.identity
        if outcome.is_new:
            project.run(delivery)
        crawl = lake.values.get(export.path("crawler_table"), delivery.period, Crawl)
        outcome.rows = crawl.profile.rows
        outcome.totals = {
            currency: {column: as_text(value) for column, value in sums.items()}
            for currency, sums in crawl.profile.totals.items()
        }
        for table in tables_of(lake, export):
            files = table.files(delivery.period)
            rows = lake.reader.profile(export.format.meaning(files)).rows
            outcome.tables[table.output] = {"rows": rows, "equal": False}
            prove(lake, export, crawl, files)
            outcome.tables[table.output]["equal"] = True
    except BillingLakeError as error:
        outcome.error = error
    return outcome


@contextmanager
def _quietly(log: Path) -> Iterator[None]:
    """Let what Dagster and Spark write go to a file."""
    with log.open("a", encoding="utf-8") as file, ExitStack() as quiet:
        quiet.enter_context(redirect_stdout(file))
        quiet.enter_context(redirect_stderr(file))
        quiet.enter_context(programs_write_to(file))
        yield


def _progress(out: Console, outcome: Outcome) -> None:
    from rich.text import Text

    what = f"{outcome.export.name} {outcome.delivery.period}"
    if outcome.error is not None:
        out.print(Text(f"✗ {what}: {outcome.error}", style="red"))
        return
    done = "loaded and proved" if outcome.is_new else "was loaded before, proved again"
    out.print(Text(f"✓ {what}: {outcome.rows:,} rows in {len(outcome.tables)} tables, {done}"))


def _report(out: Console, outcomes: Sequence[Outcome]) -> None:
    """Print what the tables hold: exact totals of the headline cost."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for title in ("export", "month", "rows", "total", "", "tables"):
        right = title in {"rows", "total"}
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    for one in outcomes:
        headline = next(iter(one.export.format.headline_costs), "")
        for currency, sums in sorted(one.totals.items()):
            equal = ", ".join(
                f"{'=' if held['equal'] else '≠'} {output}" for output, held in one.tables.items()
            )
            cells = (one.export.name, one.delivery.period, f"{one.rows:,}")
            table.add_row(*map(Text, (*cells, sums.get(headline, "0"), currency, equal)))
    if table.row_count:
        out.print(table)
    elif not outcomes:
        out.print("Nothing was asked for: no delivery of these months.")


def _next(out: Console) -> None:
    names = ("BILLING_LAKE_HOME", "BILLING_LAKE_LANDING", "BILLING_LAKE_DEFS")
    shell = " ".join(
        f"{name}={shlex.quote(os.environ[name])}" for name in names if name in os.environ
    )
    out.print("See the runs, tables and checks:", style="bold")
    out.print(
        f"  export {shell}\n  DAGSTER_HOME=$(billing-lake dagster-home) dagster dev -m billing_lake.definitions",
        soft_wrap=True,
        markup=False,
    )
