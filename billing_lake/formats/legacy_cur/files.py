"""The files of legacy CUR: reports, what the provider puts beside them, and files that may hold rows of a bill and are not read.

Whoever meets one of the last says what it is and what to do: "nothing is there" would be no answer to somebody who sees it there, and
advice that fits another kind would damage an export.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from billing_lake.formats.base import Kind

REPORT_SUFFIX = ".csv.gz"
"""How the name of a report file ends."""

READS = "gzipped CSV (.csv.gz)"
"""The report files that are read, in words."""

SET_GZIP = (
    "Set the report's compression to GZIP, format text/csv, in the provider's console (its Athena integration forces "
    "Parquet, so leave that off)"
)
"""What to do about a legacy CUR in a format that is not read."""

_STATUS_FOLDER = "cost_and_usage_data_status"
_SIDE_FILE = re.compile(
    r"crawler-cfn\.yml|aws-programmatic-access-test-object"
    r"|.*-(?:create-table\.sql|RedshiftCommands\.sql|RedshiftManifest\.json|QuickSightManifest\.json)",
    re.DOTALL,
)
_GZIP_IT = "Compress it with gzip, or move it out of the export's folder"

KINDS: Mapping[str, Kind] = {
    ".parquet": Kind("Parquet", SET_GZIP),
    ".zip": Kind(
        "ZIP", f"Unpack it and compress its files with gzip. Is it delivered so? {SET_GZIP}"
    ),
    ".csv": Kind("plain CSV, not gzipped", _GZIP_IT),
    ".csv.gzip": Kind("gzipped CSV of another name", "Let its name end with .csv.gz"),
    **{
        f"{container}{end}": Kind(
            f"{container[1:].upper()} compressed in another way than gzip", _GZIP_IT
        )
        for container in (".csv", ".parquet")
        for end in (".bz2", ".xz", ".zst", ".7z")
    },
    ".xlsx": Kind("a workbook of Excel", "Save it as CSV and compress it with gzip"),
    ".gz": Kind(
        "gzip of another name",
        "Let its name end with .csv.gz if it is a report, else move it out of the export's folder",
    ),
}
"""Kinds of files by how their names end; the first that fits counts."""


def is_side_file(key: str) -> bool:
    """Say whether ``key`` is an artefact that the provider puts beside the report."""
    *folders, name = key.split("/")
    return _STATUS_FOLDER in folders or _SIDE_FILE.fullmatch(name) is not None


def is_report_file(key: str) -> bool:
    """Say whether ``key`` is named as a report file is."""
    return key.lower().endswith(REPORT_SUFFIX) and not is_side_file(key)
