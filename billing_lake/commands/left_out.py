"""Tells what `billing-lake load` found and does not load: to people in lines, to programs as results with an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from billing_lake.commands.inspect import is_bucket
from billing_lake.domain.errors import (
    BillingLakeError,
    ConfigurationError,
    UnusableFilesError,
    counted,
    shown,
)

if TYPE_CHECKING:
    from rich.console import Console

    from billing_lake.commands.own_exports import OwnExport
    from billing_lake.landing.base import Storage
    from billing_lake.landing.found_exports import FoundExport, Inspection

_MOST = 12
"""Most names that a message has."""


def require_exports(uri: str, found: Inspection, storage: Storage) -> None:
    """Refuse a place without exports.

    Raises:
        ConfigurationError: There is none; the message says what is there.
    """
    if found.exports:
        return
    if not found.files:
        what = f"Nothing lies in {shown(uri)}"
        names = [shown(one) for one in (storage.names("") or ())[:_MOST]]
        remedy = "Name a folder with the files of an export"
        if is_bucket(uri) and names:
            remedy = f"{remedy}; in the bucket are {', '.join(names)}"
        raise ConfigurationError(what, remedy=remedy)
    first = found.unused[0] if found.unused else None
    why = "" if first is None else f": {first.why}"
    files = counted(found.files, "file")
    what = f"Nothing in {shown(uri)} ({files}) is part of an export{why}"
    remedy = (first.remedy if first else "") or "`billing-lake inspect` tells of each"
    raise ConfigurationError(what, file=first.keys[0] if first else None, remedy=remedy)


def show_left_out(
    out: Console, found: Inspection, chosen: Sequence[tuple[FoundExport, OwnExport]]
) -> None:
    """Say what was left alone, and why."""
    from rich.text import Text

    for one, own in chosen:
        outside = [
            period for period in one.findings.deliveries if not own.export.has_period(period)
        ]
        if outside:
            text = f"{own.export.name}: {', '.join(sorted(outside)[:_MOST])}: not between the export's first month and the open one; left alone"
            out.print(Text(text, style="dim"), soft_wrap=True)
    for group in found.unused:
        noun = "folder" if group.keys[0].endswith("/") else "file"
        number = counted(len(group.keys), noun)
        text = (
            f"{number} belong to no export, such as {shown(group.keys[0])} ({group.why})"
            if group.keys[1:]
            else f"{number} belongs to no export: {shown(group.keys[0])} ({group.why})"
        )
        if group.is_fault and group.remedy:
            text = f"{text}. {group.remedy}"
        out.print(Text(text, style="red" if group.is_fault else "dim"), soft_wrap=True)


def left_out_values(found: Inspection) -> list[dict[str, Any]]:
    """Return as JSON values what may be part of a bill and is not loaded, in the shape of the results of deliveries."""
    return [
        unloaded_values(
            UnusableFilesError(group.why, file=group.keys[0], remedy=group.remedy),
            files=len(group.keys),
        )
        for group in found.unused
        if group.is_fault
    ]


def unloaded_values(
    error: BillingLakeError, *, export: str | None = None, files: int = 0
) -> dict[str, Any]:
    """Return as JSON values that nothing could be loaded, in the shape of the results of deliveries."""
    return {
        "export": export,
        "format": None,
        "layout": None,
        "period": None,
        "version": "",
        "files": files,
        "rows": None,
        "totals": {},
        "tables": {},
        "complaints": [],
        "warnings": [],
        **error_values(error),
    }


def error_values(error: BillingLakeError) -> dict[str, Any]:
    """Return an error as JSON values."""
    from billing_lake.commands.load_results import fault_values
    from billing_lake.commands.runs import RunFault

    return {"error": fault_values(RunFault.of(error))}
