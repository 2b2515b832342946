"""Reads manifests of legacy CUR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billing_lake.domain.errors import BrokenManifestError
from billing_lake.domain.packing import Compression
from billing_lake.domain.periods import period_of_range
from billing_lake.domain.sources import Container
from billing_lake.formats.keys import plain_key
from billing_lake.formats.manifests import (
    Manifest,
    load_manifest,
    refuse_twice,
    required_text,
    required_version,
    stated_columns,
)
from billing_lake.formats.report_files import READS, is_report_file, packing_of

STATUS_FOLDER = "cost_and_usage_data_status"

_SET = "Set the report's compression to GZIP, ZIP or Parquet in the provider's console, then have the period delivered again"
_PACKINGS: Mapping[str, tuple[Container, Compression]] = {
    "gzip": ("csv", "gzip"),
    "zip": ("csv", "zip"),
    "parquet": ("parquet", None),
}
"""What a manifest calls the compression of its files, in lower case, and how they are packed."""

_CONTENT_TYPES = ("text/csv", "parquet")
_UTF_8 = "Have the provider deliver the period in UTF-8"


def parse_manifest(data: bytes, key: str) -> Manifest:
    """Read a manifest.

    Args:
        data: Its bytes.
        key: Its key, for errors.

    Raises:
        BrokenManifestError: It is no manifest, or lists files of a kind that is not read.
    """
    value = load_manifest(data, key)
    _refuse_other_formats(value, key)
    return Manifest(
        version=required_version(value, "assemblyId", key),
        period=_period(value, key),
        bucket=required_text(value, "bucket", key),
        keys=_keys(value, key),
        columns=stated_columns(value, key),
    )


def _refuse_other_formats(value: dict[str, Any], key: str) -> None:
    for name, expected, remedy in (
        ("compression", tuple(_PACKINGS), _SET),
        ("contentType", _CONTENT_TYPES, _SET),
        ("charset", ("utf-8",), _UTF_8),
    ):
        found = value.get(name)
        if found is not None and str(found).lower() not in expected:
            what = f"The manifest's {name} is not {' or '.join(expected)}; what is read is {READS} in UTF-8"
            raise BrokenManifestError(what, file=key, value=str(found), remedy=remedy)


def _period(value: dict[str, Any], key: str) -> str:
    stated = value.get("billingPeriod")
    start, end = (
        (stated.get("start"), stated.get("end")) if isinstance(stated, dict) else (None, None)
    )
    period = period_of_range(str(start), str(end))
    if period is None:
        what = "The manifest's billingPeriod is not exactly one month"
        raise BrokenManifestError(what, file=key, value=f"{start} to {end}")
    return period


def _keys(value: dict[str, Any], key: str) -> tuple[str, ...]:
    listed = value.get("reportKeys")
    if not isinstance(listed, list) or not listed:
        raise BrokenManifestError("The manifest lists no report files", file=key)
    # An export without a prefix, or with one that ends with a slash, writes keys with empty parts.
    keys = [plain_key(item) if isinstance(item, str) else "" for item in listed]
    for raw, report in zip(listed, keys, strict=True):
        if not is_report_file(report, STATUS_FOLDER):
            what = f"The manifest lists a file of another kind; what is read is {READS}"
            raise BrokenManifestError(what, file=key, value=str(raw), remedy=_SET)
    stated = _PACKINGS.get(str(value.get("compression")).lower())
    for report in keys if stated is not None else ():
        if packing_of(report) != stated:
            what = f"The manifest's compression is {value['compression']}, and it lists a file that is packed otherwise"
            raise BrokenManifestError(what, file=key, value=report)
    refuse_twice(keys, key)
    return tuple(keys)
