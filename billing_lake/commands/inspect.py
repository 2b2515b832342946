"""`billing-lake inspect`: what lies in a bucket or a folder, before anything is set up."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from billing_lake.commands.defs_folder import defs_folder
from billing_lake.commands.terminal import EXIT_FAILED, console, typed_path
from billing_lake.domain.errors import (
    BillingLakeError,
    ConfigurationError,
    counted,
    in_words,
    shown,
)
from billing_lake.landing.export_yaml import FILE, export_yaml

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod, RenderableType

    from billing_lake.landing.base import Storage
    from billing_lake.landing.found_exports import FoundExport, Inspection, Unused

    Rows = Mapping[tuple[str, str], int]
    """Rows of deliveries, by the name of the export and the billing period."""

_SCHEME = "s3://"
_SHOWN_KEYS = 3
_SHOWN_REASONS = 20

_OF_LOADS = re.compile(r"(?:,? then load the period again)?(?:;|, and) no table was changed")
"""Ends of remedies that are those of a load."""

_HELP = """Say what lies in a folder or a bucket (s3://bucket/folder): exports, months, what is broken, what is no export.

Reads only: one listing, the manifests, and the first lines of files without a manifest; with --rows the footers of Parquet files, too.
Below the table stand the settings by which each export can be loaded.

The exit status is 1 where something is broken, or may be part of a bill and cannot be told apart. What waits for further files, and
what is ignored because it is no report file, does not change it.

\b
Examples:
  billing-lake inspect exports/
  billing-lake inspect s3://acme-billing-exports/finops --json
"""


@click.command(name="inspect", help=_HELP, short_help="Say what lies in a folder or a bucket.")
@click.argument("uri")
@click.option("--rows", is_flag=True, help="Count rows, too, by the footer of each Parquet file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def inspect_command(ctx: click.Context, /, uri: str, *, rows: bool, as_json: bool) -> None:
    """Inspect a storage and print what was found."""
    from billing_lake.landing.inspection import inspect
    from billing_lake.landing.row_counts import stated_rows

    try:
        storage, prefix = open_storage(uri)
        found = inspect(storage, prefix)
    except BillingLakeError as error:
        if as_json:
            from billing_lake.commands.left_out import error_values

            click.echo(json.dumps(error_values(error), indent=2, ensure_ascii=False))
        raise
    told = stated_rows(storage, found) if rows else None
    if as_json:
        click.echo(json.dumps(as_values(uri, found, told), indent=2, ensure_ascii=False))
    else:
        _show(uri, found, told)
    if found.is_faulty:
        ctx.exit(EXIT_FAILED)


def is_bucket(uri: str) -> bool:
    """Say whether ``uri`` names a bucket, and no folder."""
    return uri.startswith(_SCHEME)


def open_storage(uri: str) -> tuple[Storage, str]:
    """Return the storage that ``uri`` names, and the folder in it, with a slash at its end.

    Raises:
        ConfigurationError: There is no such folder, or no bucket can be asked.
    """
    if not is_bucket(uri):
        from billing_lake.landing.local import LocalStorage

        path = Path(uri).expanduser()
        if not path.is_dir():
            what = f"{shown(uri)} is {'a file' if path.exists() else 'not there'}"
            near = "" if path.exists() else _near(path.absolute())
            remedy = near or "Name a folder, or a bucket as s3://bucket/folder"
            raise ConfigurationError(what, file=str(path.absolute()), remedy=remedy)
        return LocalStorage(path), ""
    from billing_lake.aws.clients import clients_for
    from billing_lake.landing.s3 import S3Storage

    bucket, _, folder = uri.removeprefix(_SCHEME).partition("/")
    if not bucket:
        raise ConfigurationError(f"{shown(uri)} names no bucket", remedy="Write s3://bucket/folder")
    prefix = f"{folder.rstrip('/')}/" if folder.strip("/") else ""
    return S3Storage(clients_for(bucket), bucket), prefix


def _near(path: Path) -> str:
    """Return a remedy that names the folder that is meant, where one on the way has nearly the name that was typed."""
    missing = path
    while not missing.parent.is_dir() and missing != missing.parent:
        missing = missing.parent
    try:
        names = [one.name for one in missing.parent.iterdir() if one.is_dir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(missing.name, names, n=1)
    if not close:
        return ""
    meant = missing.with_name(close[0]) / path.relative_to(missing)
    return f"Did you mean {shown(typed_path(meant), 400)}?" if meant.is_dir() else ""


def as_values(uri: str, found: Inspection, rows: Rows | None = None) -> dict[str, Any]:
    """Return an inspection as JSON values."""
    return {
        "uri": uri,
        "files": found.files,
        "bytes": found.size,
        "exports": [_export_values(one, rows or {}) for one in found.exports],
        "unused": [
            {"why": one.why, "remedy": _of_reading(one.remedy), "keys": list(one.keys)}
            for one in found.unused
        ],
    }


def _export_values(one: FoundExport, rows: Rows) -> dict[str, Any]:
    deliveries = one.findings.deliveries
    return {
        "name": one.location.name,
        "format": one.location.format.name,
        "format_version": one.format_version or None,
        "layout": one.location.layout,
        "prefix": one.location.prefix,
        "report": one.location.report,
        "buckets": sorted({delivery.bucket for delivery in deliveries.values() if delivery.bucket}),
        "deliveries": [
            {
                "period": period,
                "version": delivery.version,
                "files": len(delivery.files),
                "bytes": delivery.size,
                "rows": rows.get((one.location.name, period)),
                "delivered": delivery.delivered_at,
            }
            for period, delivery in sorted(deliveries.items())
        ],
        "waiting": {place: _of_reading(text) for place, text in one.findings.waiting.items()},
        "broken": {place: _of_reading(text) for place, text in one.findings.broken.items()},
        "yaml": export_yaml(one.settings),
    }


def _show(uri: str, found: Inspection, rows: Rows | None) -> None:
    from rich.filesize import decimal
    from rich.text import Text

    out, folder = console(sys.stdout), defs_folder(os.environ)
    out.print(Text(f"{shown(uri, 400)}: {counted(found.files, 'file')}, {decimal(found.size)}"))
    show_found(out, found, rows)
    for one in found.exports:
        file = typed_path(folder / one.location.name / FILE)
        out.print(Text(f"\n{file}", style="bold"))
        out.print(Text(export_yaml(one.settings).rstrip()), soft_wrap=True)


def show_found(out: Console, found: Inspection, rows: Rows | None = None) -> None:
    """Show a table of the exports that were found, with ``rows`` where they were counted, and what stands in the way of others."""
    from rich.text import Text

    if found.exports:
        _show_exports(out, found.exports, rows)
    else:
        out.print(Text("No export was found here."))
    for text, style in (*_notes(found.exports), *_unused(found.unused)):
        # A key that is broken cannot be copied.
        out.print(Text(text, style=style), soft_wrap=True)


def _show_exports(out: Console, exports: Sequence[FoundExport], rows: Rows | None) -> None:
    """Show a table, with the folders in it where each has its place in one line, and otherwise below it."""
    from rich.text import Text

    from billing_lake.commands.results import needed_columns

    whole = _table(exports, rows)
    if needed_columns(whole, out) <= out.width:
        out.print(whole)
        return
    out.print(_table(exports, rows, with_folder=False))
    width = max(len(one.location.name) for one in exports)
    for one in exports:
        out.print(Text(f" {one.location.name:<{width}}   {_folder(one)}"), soft_wrap=True)


def _table(
    exports: Sequence[FoundExport], rows: Rows | None, *, with_folder: bool = True
) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    counted_rows = () if rows is None else ("rows",)
    folder = ("folder",) if with_folder else ()
    for title in ("export", "format", "layout", "months", "files", *counted_rows, "size", *folder):
        justify: JustifyMethod = "right" if title in {"files", "rows", "size"} else "left"
        table.add_column(title, justify=justify, overflow="fold", no_wrap=with_folder)
    for one in exports:
        cells = (*_row(one, rows), *([_folder(one)] if with_folder else []))
        table.add_row(*map(Text, cells))
    return table


def _folder(one: FoundExport) -> str:
    return shown(one.location.rules.folder or "/", 400)


def _notes(exports: Sequence[FoundExport]) -> Iterator[tuple[str, str]]:
    """Yield what stands in the way of deliveries, with a style."""
    for one in exports:
        notes = one.findings.notes
        more = len(notes) - _SHOWN_REASONS
        rest = [f"and {more:,} more"] if more > 0 else []
        for note in (*notes[:_SHOWN_REASONS], *rest):
            yield f"{one.location.name}: {_of_reading(note)}", "yellow"


def _unused(groups: Sequence[Unused]) -> Iterator[tuple[str, str]]:
    """Yield what belongs to no export, and why, with a style."""
    if groups:
        yield "\nPart of no export:", "bold"
    for one in groups:
        style = "yellow" if one.is_fault else ""
        yield f"  {one.why}: {in_words(map(shown, one.keys), _SHOWN_KEYS)}", style
        if one.remedy:
            yield f"    {_of_reading(one.remedy)}", "dim"


def _of_reading(text: str) -> str:
    """Return what an error says without what is true of loads alone."""
    return _OF_LOADS.sub("", text)


def _row(one: FoundExport, rows: Rows | None) -> tuple[str, ...]:
    from rich.filesize import decimal

    deliveries = one.findings.deliveries
    periods = sorted(deliveries)
    months = f"{periods[0]} … {periods[-1]} ({len(periods)})" if periods[1:] else "".join(periods)
    # A file of several months is part of the delivery of each.
    sizes = {file.key: file.size for each in deliveries.values() for file in each.files}
    waiting, broken = len(one.findings.waiting), len(one.findings.broken)
    for number, word in ((waiting, "waiting"), (broken, "broken")):
        if number:
            months = f"{months or 'none'}, {number} {word}"
    return (
        one.location.name,
        _format(one),
        one.location.layout,
        months,
        f"{len(sizes):,}",
        *([] if rows is None else [_counted(one, rows)]),
        decimal(sum(sizes.values())),
    )


def _counted(one: FoundExport, rows: Rows) -> str:
    """Return the rows of all deliveries of an export; "not told" where one does not tell."""
    told = [rows.get((one.location.name, period)) for period in one.findings.deliveries]
    numbers = [number for number in told if number is not None]
    return f"{sum(numbers):,}" if len(numbers) == len(told) else "not told"


def _format(one: FoundExport) -> str:
    version = one.format_version
    name = one.location.format.name
    return name if version is None else f"{name} {version or '(version not told)'}"
