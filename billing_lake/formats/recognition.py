"""Recognises what lies in a landing folder, whatever the export's own format: files of any format, and trees and headers of other ones.

Whoever meets something else than the export's settings promise says what it is and what to do: advice that fits another kind would
damage an export.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from billing_lake.domain.errors import OtherFormatError
from billing_lake.formats.base import Format
from billing_lake.formats.registry import FORMATS
from billing_lake.formats.report_files import Kind

_DAYS = re.compile(r"\d{8}-\d{8}")
"""Name of a folder of some days, as Microsoft's exports have one for each month."""

_UNKNOWN_TREE = Kind(
    "an export whose layout is not known",
    "Look where its manifests lie, and set `prefix` and `report` to that",
)


def is_report_of_any_format(key: str) -> bool:
    """Say whether ``key`` is named as a report file of any format is."""
    return any(one.is_report_file(key) for one in FORMATS.values())


def kind_of_header(header: Iterable[str], own: Format) -> Kind | None:
    """Return the kind of export that a header belongs to, where it is known and cannot be the format ``own``."""
    cells = tuple(header)
    if own.is_header(cells):
        return None
    for one in FORMATS.values():
        if one.name != own.name and one.is_header(cells):
            return Kind(one.name, f"Set `format: {one.name}` in the export's defs.yaml")
    return None


def refuse_other_format(header: Iterable[str], file: str, own: Format) -> None:
    """Refuse a report file of another format than ``own``, that of its export; one of which nobody can tell is not refused.

    Raises:
        OtherFormatError: It is one.
    """
    kind = kind_of_header(header, own)
    if kind is not None:
        what = f"This is a file of another kind: {kind.name}"
        raise OtherFormatError(what, file=file, line=1, remedy=kind.remedy)


def kind_of_tree(key: str) -> Kind:
    """Return the kind of tree that the manifest at ``key`` belongs to, and the settings that read it."""
    known = next((kind for one in FORMATS.values() if (kind := one.tree_of(key))), None)
    return _UNKNOWN_TREE if known is None else known


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
    return _DAYS.fullmatch(folder) is not None or any(
        one.period_of_folder(folder) is not None for one in FORMATS.values()
    )
