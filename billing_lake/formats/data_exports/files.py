"""The files of Data Exports: exported rows, what AWS puts beside them, and files that may hold rows of a bill and are not read."""

from __future__ import annotations

import re
from collections.abc import Mapping

from billing_lake.domain.sources import Compression, Container
from billing_lake.formats.base import Kind

REPORT_FILES: Mapping[str, tuple[Container, Compression]] = {".csv.gz": ("csv", "gzip")}
"""How the names of files with rows end, and how such files are packed."""

READS = "gzipped CSV (.csv.gz)"
"""The files that are read, in words."""

SET_GZIP = (
    "Let the export deliver gzip - text/csv: set its compression and file format so in the provider's console (its Athena integration "
    "forces Parquet, so leave that off)"
)
"""What to do about an export in a format that is not read."""

_STATUS_FOLDER = "execution_status"
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
    ".xlsx": Kind("a workbook of Excel", "Save it as CSV and compress it with gzip"),
    ".gz": Kind(
        "gzip of another name",
        "Let its name end with .csv.gz if it is a report, else move it out of the export's folder",
    ),
}
"""Kinds of files by how their names end; the first that fits counts."""


def is_side_file(key: str) -> bool:
    """Say whether ``key`` is an artefact that the provider puts beside the exported rows."""
    *folders, name = key.split("/")
    return _STATUS_FOLDER in folders or _SIDE_FILE.fullmatch(name) is not None


def is_report_file(key: str) -> bool:
    """Say whether ``key`` is named as a file with exported rows is."""
    return key.lower().endswith(tuple(REPORT_FILES)) and not is_side_file(key)
