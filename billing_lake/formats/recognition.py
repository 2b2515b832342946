"""What lies in a landing folder, whatever the export's own format: files of any format, and trees and headers of other ones.

Whoever meets something else than the export's settings promise says what it is and what to do: advice that fits another kind would
damage an export.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from billing_lake.formats.base import Format, Kind
from billing_lake.formats.registry import FORMATS

_DATA_EXPORTS_FOLDER = re.compile(r"billing_period=\d{4}-\d{2}", re.IGNORECASE)
_UNREAD_DATA_EXPORTS = Kind(
    "AWS Data Exports (CUR 2.0 or FOCUS)",
    "Data Exports are not read yet, by no layout: leave them as they are, and have a legacy Cost and Usage Report "
    "delivered with the compression GZIP",
)
_UNREAD_FOCUS = Kind(
    "FOCUS", "FOCUS exports are not read yet; move the file out of the export's folder"
)
_UNKNOWN_TREE = Kind(
    "an export whose layout is not known",
    "Look where its manifests lie, and set `prefix` and `report` to that",
)


def is_report_file(key: str) -> bool:
    """Say whether ``key`` is named as a report file of any format is."""
    return any(one.is_report_file(key) for one in FORMATS.values())


def kind_of_header(header: Iterable[str], own: Format) -> Kind | None:
    """Return the kind of export that a header belongs to, where it is known and not the format ``own``."""
    cells = tuple(header)
    for one in FORMATS.values():
        if one is not own and one.is_header(cells):
            return Kind(one.name, f"Set `format: {one.name}` in the export's defs.yaml")
    focus = {"billedcost", "chargecategory"} <= {cell.lower() for cell in cells}
    return _UNREAD_FOCUS if focus else None


def kind_of_tree(key: str) -> Kind:
    """Return the kind of tree that the manifest at ``key`` belongs to, and the settings that read it."""
    known = next((kind for one in FORMATS.values() if (kind := one.tree_of(key))), None)
    if known is not None:
        return known
    folders = key.split("/")[:-1]
    if any(_DATA_EXPORTS_FOLDER.fullmatch(folder) for folder in folders) or "metadata" in folders:
        return _UNREAD_DATA_EXPORTS
    return _UNKNOWN_TREE


def several_deliveries(keys: Iterable[str]) -> tuple[str, ...]:
    """Return a folder of a billing period that holds several deliveries of it, each in a folder of its own; else nothing.

    Without their manifests nobody can tell which of them is current, and together they would count a month again and again.
    """
    found: dict[str, dict[str, None]] = {}
    for key in keys:
        folders = key.split("/")[:-1]
        for position, folder in enumerate(folders[:-1]):
            if _is_of_a_period(folder):
                place = "/".join(folders[: position + 1])
                found.setdefault(place, {})[folders[position + 1]] = None
    return next(((place, *folders) for place, folders in found.items() if len(folders) > 1), ())


def _is_of_a_period(folder: str) -> bool:
    return _DATA_EXPORTS_FOLDER.fullmatch(folder) is not None or any(
        one.period_of_folder(folder) is not None for one in FORMATS.values()
    )
