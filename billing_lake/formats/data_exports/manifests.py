"""Reads manifests of Data Exports, which name files by their full URIs, and no billing period, which is its folder's."""

from __future__ import annotations

import re
from typing import Any

from billing_lake.domain.errors import (
    BrokenManifestError,
    ForeignKeyInManifestError,
    NoBillError,
)
from billing_lake.formats.data_exports.tables import NO_BILL, table_of
from billing_lake.formats.keys import plain_key
from billing_lake.formats.manifests import (
    Manifest,
    load_manifest,
    refuse_twice,
    required_version,
    stated_columns,
)
from billing_lake.formats.report_files import READS, is_report_file

STATUS_FOLDER = "execution_status"

_SCHEME = "s3://"
_VERSION = re.compile(r"\d{1,3}(\.\d{1,3}){1,2}(-[a-z]{1,20})?")
_SET = "Let the export deliver text/csv in gzip, or Parquet, then have the period delivered again"


def parse_manifest(data: bytes, key: str, period: str, table: str) -> Manifest:
    """Read a manifest.

    Args:
        data: Its bytes.
        key: Its key, for errors.
        period: Billing period of the folder that it lies in.
        table: Name of the table that the export is of; see `tables.table_of`.

    Raises:
        BrokenManifestError: It is no manifest, is one of another table, or lists files of a kind that is not read.
        ForeignKeyInManifestError: It lists files of several buckets.
    """
    value = load_manifest(data, key)
    columns = stated_columns(value, key)
    kind = table_of(columns)
    if kind is not None and kind.name != table:
        what = f"This is a manifest of {kind.name}, another table of Data Exports"
        if kind.remedy == NO_BILL:
            raise NoBillError(what, file=key, remedy=kind.remedy)
        what = f"{what}, and the export is set up as {table}"
        raise BrokenManifestError(what, file=key, remedy=kind.remedy)
    bucket, keys = _files(value, key)
    return Manifest(
        version=required_version(value, "executionId", key),
        period=period,
        bucket=bucket,
        keys=keys,
        columns=columns,
        format_version=_format_version(value),
    )


def _format_version(value: dict[str, Any]) -> str:
    """Return the version of FOCUS that a manifest states; one that is no version tells nothing."""
    stated = str(value.get("FocusVersion", ""))
    return stated if _VERSION.fullmatch(stated) else ""


def _files(value: dict[str, Any], key: str) -> tuple[str, tuple[str, ...]]:
    listed = value.get("dataFiles")
    if not isinstance(listed, list) or not listed:
        raise BrokenManifestError("The manifest lists no data files", file=key)
    places = [_place(item, key) for item in listed]
    bucket = places[0][0]
    for item, (other, path) in zip(listed, places, strict=True):
        if other != bucket:
            what = "The manifest lists files of several buckets"
            raise ForeignKeyInManifestError(what, file=key, value=str(item))
        if not is_report_file(path, STATUS_FOLDER):
            what = f"The manifest lists a file of another kind; what is read is {READS}"
            raise BrokenManifestError(what, file=key, value=str(item), remedy=_SET)
    keys = tuple(path for _, path in places)
    refuse_twice(keys, key)
    return bucket, keys


def _place(item: object, key: str) -> tuple[str, str]:
    """Return the bucket and the plain key of a listed file: a full URI, or an object with one."""
    uri = item.get("s3Uri") if isinstance(item, dict) else item
    if isinstance(uri, str) and uri.startswith(_SCHEME):
        bucket, _, path = uri.removeprefix(_SCHEME).partition("/")
        if bucket and path:
            return bucket, plain_key(path)
    what = "The manifest lists a file that is no s3:// URI"
    raise BrokenManifestError(what, file=key, value=str(item))
