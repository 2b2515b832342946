"""`billing-lake sample`: realistic deliveries, for tests, demos and benchmarks."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, get_args

import click

from billing_lake.commands.home import own_landing, require_writable
from billing_lake.commands.terminal import console
from billing_lake.domain.deliveries import Layout
from billing_lake.domain.periods import is_period, next_period
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.registry import format_named
from billing_lake.sample.own_samples import OwnSamples
from billing_lake.sample.spec import CONTAINERS, SAMPLE_FORMATS, SampleSpec

_RANGE = re.compile(r"(?P<first>[^.]+?)(?:\.\.(?P<last>[^.]+))?")
_DEFAULTS = SampleSpec()


def parse_months(_: object, __: object, values: tuple[str, ...]) -> list[str]:
    """Return the billing periods that `2025-03` and `2025-01..2025-03` name, each once, in order.

    Raises:
        click.BadParameter: A value names none.
    """
    months: set[str] = set()
    for value in values:
        match = _RANGE.fullmatch(value)
        first, last = (match["first"], match["last"] or match["first"]) if match else ("", "")
        if not (is_period(first) and is_period(last) and first <= last):
            raise click.BadParameter(f"{value!r} is neither YYYY-MM nor YYYY-MM..YYYY-MM")
        while first <= last:
            months.add(first)
            first = next_period(first)
    return sorted(months)


@click.command(short_help="Write realistic sample deliveries.")
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that stands for the bucket; <lake>/landing unless given.",
)
@click.option(
    "--layout", type=click.Choice(get_args(Layout)), default="create-new", show_default=True
)
@click.option(
    "--prefix", default=_DEFAULTS.prefix, show_default=True, help="Folder below the root."
)
@click.option(
    "--format",
    type=click.Choice(SAMPLE_FORMATS),
    default=_DEFAULTS.format,
    show_default=True,
    help="What the report files are written as.",
)
@click.option(
    "--container",
    type=click.Choice(CONTAINERS),
    default=_DEFAULTS.container,
    show_default=True,
    help="What they are written in, and how they are packed.",
)
@click.option("--report", default=_DEFAULTS.report, show_default=True, help="Name of the report.")
@click.option(
    "--months",
    multiple=True,
    default=["2025-03"],
    show_default=True,
    callback=parse_months,
    help="YYYY-MM or YYYY-MM..YYYY-MM; may be given several times.",
)
@click.option(
    "--rows", type=click.IntRange(min=0), default=20_000, show_default=True, help="Rows per month."
)
@click.option(
    "--chunks", type=click.IntRange(min=1), default=3, show_default=True, help="Files per delivery."
)
@click.option(
    "--columns", type=click.IntRange(min=1), help="Columns; tags fill up what is missing."
)
@click.option("--seed", type=click.IntRange(min=0), default=_DEFAULTS.seed, show_default=True)
@click.option(
    "--restatement",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="0: the first delivery; n: the n-th restatement (one service's costs corrected, one file fewer).",
)
@click.option(
    "--extra-tag", "extra_tags", multiple=True, help="A further tag column, as user:Project."
)
@click.option("--currency", default=_DEFAULTS.currency, show_default=True)
def sample(
    root: Path | None,
    months: list[str],
    restatement: int,
    extra_tags: tuple[str, ...],
    **described: Any,
) -> None:
    """Write sample deliveries: realistic accounts, services, tags and commitments, the same for the same options.

    They go into a folder of their own: one with a file that is no sample is refused.
    """
    folder = root or own_landing()
    require_writable(folder)
    try:
        spec = SampleSpec(**described)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    location = ExportLocation("sample", spec.layout, spec.prefix, spec.report)
    own = OwnSamples(folder, location.prefix)
    own.require()
    _write(folder, own, spec, months, restatement, extra_tags)


def _write(
    folder: Path,
    own: OwnSamples,
    spec: SampleSpec,
    months: list[str],
    restatement: int,
    extra_tags: tuple[str, ...],
) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from billing_lake.commands.results import as_text, rows_table
    from billing_lake.sample import write_delivery

    bars = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    err = console(sys.stderr)
    written = []
    with Progress(*bars, console=err, transient=True, disable=not err.is_terminal) as progress:
        for month in months:
            task = progress.add_task(f"{month} rows", total=spec.rows)
            try:
                delivery = write_delivery(
                    folder,
                    month,
                    spec,
                    restatement=restatement,
                    extra_tags=extra_tags,
                    progress=lambda rows, task=task: progress.advance(task, rows),  # type: ignore[misc]
                    own=own,
                )
            except ValueError as error:
                raise click.UsageError(str(error)) from error
            written.append(delivery)
    out = console()
    cost, name = next(iter(format_named(spec.format).headline_costs.items()))
    out.print(
        rows_table(
            ("month", "delivery", "files", "rows", name.replace("_", " "), "currency"),
            ("", "", "INTEGER", "INTEGER", "DECIMAL", ""),
            [
                (
                    one.period,
                    one.version,
                    len(one.files),
                    f"{one.rows:,}",
                    as_text(one.totals.get(spec.currency, {}).get(cost, 0)),
                    spec.currency,
                )
                for one in written
            ],
        )
    )
    out.print(f"Written below {folder}", soft_wrap=True)
