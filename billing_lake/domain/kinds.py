"""Kinds of files and folders that a landing folder may hold and that are not read as they lie there, in words.

Whoever meets one says what it is and what to do: "nothing is there" would be no answer to somebody who sees it there, and
advice that fits another kind would damage an export.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from billing_lake.domain.errors import shown
from billing_lake.domain.layouts import (
    MANIFEST_SUFFIX,
    is_report_file,
    is_side_file,
)
from billing_lake.domain.periods import period_of_folder

SET_GZIP = (
    "Set the report's compression to GZIP, format text/csv, in the provider's console (its Athena integration forces "
    "Parquet, so leave that off)"
)
"""What to do about a legacy CUR in a format that is not read."""

_GZIP_IT = "Compress it with gzip, or move it out of the export's folder"
_UNPACK_IT = f"Unpack it and compress its files with gzip. Is it delivered so? {SET_GZIP}"
_KINDS = (
    (".parquet", "Parquet", SET_GZIP),
    (".zip", "ZIP", _UNPACK_IT),
    (".csv", "plain CSV, not gzipped", _GZIP_IT),
    (".csv.gzip", "gzipped CSV of another name", "Let its name end with .csv.gz"),
    *(
        (f"{format_}{end}", f"{format_[1:].upper()} compressed in another way than gzip", _GZIP_IT)
        for format_ in (".csv", ".parquet")
        for end in (".bz2", ".xz", ".zst", ".7z")
    ),
    (".xlsx", "a workbook of Excel", "Save it as CSV and compress it with gzip"),
    (
        ".gz",
        "gzip of another name",
        "Let its name end with .csv.gz if it is a report, else move it out of the export's folder",
    ),
)
_DATA_EXPORTS_FOLDER = re.compile(r"billing_period=\d{4}-\d{2}", re.IGNORECASE)
_ATHENA_FOLDERS = re.compile(r"(?:^|/)year=\d{4}/month=\d{1,2}/")
_MAX_NAMED = 3


@dataclass(frozen=True)
class Kind:
    """What a file or a tree of files is, and what to do about it.

    Attributes:
        name: The kind, in words.
        remedy: What to do.
    """

    name: str
    remedy: str


def unread_kind(key: str) -> Kind | None:
    """Return the kind of a file that may hold rows of a bill and is not read; None for report files and for anything else."""
    if is_report_file(key) or is_side_file(key):
        return None
    name = key.lower()
    return next((Kind(what, how) for end, what, how in _KINDS if name.endswith(end)), None)


def kind_of_header(header: Iterable[str]) -> Kind | None:
    """Return the kind of export that a header belongs to, where it is known and no legacy CUR."""
    if {"billedcost", "chargecategory"} <= {cell.lower() for cell in header}:
        return Kind(
            "FOCUS", "FOCUS exports are not read yet; move the file out of the export's folder"
        )
    return None


def kind_of_tree(key: str) -> Kind:
    """Return the kind of tree that the manifest at ``key`` belongs to, and the settings that read it."""
    *folders, name = key.split("/")
    for position, folder in enumerate(folders):
        report = folders[position - 1] if position else ""
        if period_of_folder(folder) is not None and name == f"{report}{MANIFEST_SUFFIX}":
            prefix = "/".join(folders[: position - 1])
            return Kind(
                "a legacy CUR",
                f"Set `layout: create-new` (or `overwrite`, as in the report's settings), `prefix: {shown(prefix)!r}` and "
                f"`report: {shown(report)!r}`",
            )
    if any(_DATA_EXPORTS_FOLDER.fullmatch(folder) for folder in folders) or "metadata" in folders:
        return Kind(
            "AWS Data Exports (CUR 2.0 or FOCUS)",
            "Data Exports are not read yet, by no layout: leave them as they are, and have a legacy Cost and Usage Report "
            "delivered with the compression GZIP",
        )
    if _ATHENA_FOLDERS.search(key):
        return Kind("a legacy CUR in Parquet for Athena", SET_GZIP)
    return Kind(
        "an export whose layout is not known",
        "Look where its manifests lie, and set `prefix` and `report` to that",
    )


def several_deliveries(keys: Iterable[str]) -> tuple[str, ...]:
    """Return a folder of a billing period that holds several deliveries of it, each in a folder of its own; else nothing.

    Without their manifests nobody can tell which of them is current, and together they would count a month again and again.
    """
    found: dict[str, dict[str, None]] = {}
    for key in keys:
        folders = key.split("/")[:-1]
        for position, folder in enumerate(folders[:-1]):
            if period_of_folder(folder) is not None or _DATA_EXPORTS_FOLDER.fullmatch(folder):
                place = "/".join(folders[: position + 1])
                found.setdefault(place, {})[folders[position + 1]] = None
    return next(((place, *folders) for place, folders in found.items() if len(folders) > 1), ())


def named(keys: Iterable[str]) -> str:
    """Return some of ``keys`` for a message, those of a kind that is not read with it."""
    keys = tuple(keys)
    more = f" and {len(keys) - _MAX_NAMED:,} more" if len(keys) > _MAX_NAMED else ""
    return ", ".join(_named(key) for key in keys[:_MAX_NAMED]) + more


def _named(key: str) -> str:
    kind = unread_kind(key)
    return shown(key) if kind is None else f"{shown(key)} ({kind.name})"
