"""Tells report files of every format by their names, and files that may hold rows of a bill and are not read.

Whoever meets one of the last says what it is and what to do: "nothing is there" would be no answer to somebody who sees it there, and
advice that fits another kind would damage an export.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from billing_lake.domain.packing import Compression
from billing_lake.domain.sources import Container


@dataclass(frozen=True)
class Kind:
    """States what a file or a tree of files is, and what to do about it.

    Attributes:
        name: The kind, in words.
        remedy: What to do.
        export: Prefix and report of the export that a tree of files is, where it can be read.
    """

    name: str
    remedy: str
    export: tuple[str, str] | None = None


_SIDE_FILE = re.compile(
    r"crawler-cfn\.yml|aws-programmatic-access-test-object"
    r"|.*-(?:create-table\.sql|RedshiftCommands\.sql|RedshiftManifest\.json|QuickSightManifest\.json)",
    re.DOTALL,
)

_PACKINGS: Mapping[str, tuple[Container, Compression]] = {
    ".csv.gz": ("csv", "gzip"),
    ".zip": ("csv", "zip"),
    ".csv": ("csv", None),
    ".parquet": ("parquet", None),
}
"""How the name of a report file ends, in lower case, and how such a file is packed."""

READS = "CSV in gzip (.csv.gz), in ZIP (.zip) or as it is (.csv), and Parquet (.parquet)"
"""The report files that are read, in words."""

_PACK_AGAIN = "Compress it with gzip, or move it out of the export's folder"

_UNREAD: Mapping[str, Kind] = {
    ".csv.gzip": Kind("gzipped CSV of another name", "Let its name end with .csv.gz"),
    **{
        f"{container}{end}": Kind(
            f"{container[1:].upper()} compressed in another way than is read", _PACK_AGAIN
        )
        for container in (".csv", ".parquet")
        for end in (".bz2", ".xz", ".zst", ".7z")
    },
    ".parquet.gz": Kind("gzipped Parquet", "Unpack it: Parquet is compressed in itself"),
    ".xlsx": Kind("a workbook of Excel", "Save it as CSV and compress it with gzip"),
    ".gz": Kind(
        "gzip of another name",
        "Let its name end with .csv.gz if it is a report, else move it out of the export's folder",
    ),
}
"""Kinds of files that are not read, by how their names end; the first that fits counts."""


def packing_of(key: str) -> tuple[Container, Compression] | None:
    """Return how a report file is packed, by its name; None where it is not named as one."""
    name = key.lower()
    return next((one for end, one in _PACKINGS.items() if name.endswith(end)), None)


def unread_kind(key: str) -> Kind | None:
    """Return the kind of a file that is not read, by the end of its name; None for anything else."""
    name = key.lower()
    return next((kind for end, kind in _UNREAD.items() if name.endswith(end)), None)


def is_side_file(key: str, status_folder: str) -> bool:
    """Say whether ``key`` is an artefact that AWS puts beside reports, in ``status_folder`` or by its name."""
    *folders, name = key.split("/")
    return status_folder in folders or _SIDE_FILE.fullmatch(name) is not None


def is_report_file(key: str, status_folder: str) -> bool:
    """Say whether ``key`` is named as a report file is."""
    return packing_of(key) is not None and not is_side_file(key, status_folder)
