"""Manifests: the JSON that lists a delivery's files and columns.

A manifest decides what is read and what is replaced, and it comes from outside. It is believed only for what it lists, and
only when all it says agrees with the place where it lies.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from billing_lake.domain.errors import (
    BrokenManifestError,
    ForeignKeyInManifestError,
    PeriodMismatchError,
    shown,
)
from billing_lake.domain.kinds import SET_GZIP
from billing_lake.domain.layouts import (
    READ_FORMATS,
    ExportLocation,
    is_report_file,
    is_safe_key,
    plain,
)
from billing_lake.domain.periods import period_of_range

MAX_MANIFEST = 32 * 1024 * 1024
"""Largest manifest that is read, in bytes; those of the largest organisations have some hundred kilobytes."""

_MAX_VERSION = 256
_SET_GZIP = f"{SET_GZIP}, then have the period delivered again"
_EXPECTED = (
    ("compression", "gzip", _SET_GZIP),
    ("contentType", "text/csv", _SET_GZIP),
    ("charset", "utf-8", "Have the provider deliver the period in UTF-8"),
)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a manifest says.

    Attributes:
        assembly_id: Id of the delivery.
        period: Billing period.
        bucket: Bucket that the delivery lies in.
        keys: Report files, as plain keys.
        columns: Header cells that it promises, `category/name`; empty where it states none.
    """

    assembly_id: str
    period: str
    bucket: str
    keys: tuple[str, ...]
    columns: tuple[str, ...] = ()


def require_manifest_size(size: int, key: str) -> None:
    """Refuse a manifest of more than `MAX_MANIFEST` bytes, before it is read.

    Raises:
        BrokenManifestError: It is larger.
    """
    if size > MAX_MANIFEST:
        what = f"The manifest has {size:,} bytes; at most {MAX_MANIFEST:,} are read"
        raise BrokenManifestError(what, file=key)


def parse_manifest(data: bytes, key: str) -> Manifest:
    """Read a manifest.

    Args:
        data: Its bytes.
        key: Its key, for errors.

    Raises:
        BrokenManifestError: It is no manifest, or lists files of a kind that is not read.
    """
    require_manifest_size(len(data), key)
    value = _load(data, key)
    _refuse_other_formats(value, key)
    version = _text(value, "assemblyId", key)
    if len(version) > _MAX_VERSION or not version.isprintable():
        raise BrokenManifestError("The manifest's assemblyId is no id", file=key, value=version)
    return Manifest(
        assembly_id=version,
        period=_period(value, key),
        bucket=_text(value, "bucket", key),
        keys=_keys(value, key),
        columns=_columns(value, key),
    )


def check_manifest(
    manifest: Manifest, export: ExportLocation, *, period: str, buckets: Sequence[str], key: str
) -> None:
    """Refuse a manifest that does not agree with the place where it lies.

    Args:
        manifest: The manifest.
        export: The export that it belongs to.
        period: Billing period of the folder that it lies in.
        buckets: Buckets that it may speak of.
        key: Its key, for errors.

    Raises:
        PeriodMismatchError: It speaks of another billing period, or lists a file in the folder of another one.
        ForeignKeyInManifestError: It lists a file outside the export, or speaks of another bucket.
    """
    if manifest.period != period:
        what = f"The manifest speaks of {manifest.period} and lies in the folder of {period}"
        raise PeriodMismatchError(what, file=key)
    if manifest.bucket not in buckets:
        known = ", ".join(repr(shown(bucket)) for bucket in buckets)
        what = f"The manifest speaks of the bucket {shown(manifest.bucket)!r}, and this export is delivered to {known}"
        raise ForeignKeyInManifestError(what, file=key, remedy=_other_bucket(manifest.bucket))
    for listed in manifest.keys:
        if not is_safe_key(listed) or not listed.startswith(export.folder):
            what = "The manifest lists a file outside the export's folder"
            raise ForeignKeyInManifestError(what, file=key, value=listed)
        if not listed.startswith(export.period_folder(period)):
            what = f"The manifest lists a file outside the folder of {period}"
            raise PeriodMismatchError(what, file=key, value=listed)


def _other_bucket(bucket: str) -> str:
    named = shown(bucket)
    return (
        f"If this is a copy of that bucket, set `bucket: {named}` in the export's defs.yaml; if the report moved, list both, "
        f"`bucket: [{named}, <the other>]`; if neither is so, find out who wrote this manifest"
    )


def _load(data: bytes, key: str) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BrokenManifestError("The manifest is not UTF-8", file=key) from error
    except (ValueError, RecursionError) as error:
        what = f"The manifest is no JSON: {shown(error)}"
        raise BrokenManifestError(what, file=key) from error
    if not isinstance(value, dict):
        raise BrokenManifestError("The manifest is no JSON object", file=key)
    if rb"\u" in data:
        _refuse_half_characters(value, key)
    return value


def _refuse_half_characters(value: dict[str, Any], key: str) -> None:
    """Refuse half of a surrogate pair, which JSON can spell: no file has such a name, and no other text can hold it."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        near = error.object[max(0, error.start - 20) : error.end + 20]
        what = "The manifest has text that is half a character (a lone surrogate)"
        raise BrokenManifestError(what, file=key, value=near) from error


def _refuse_other_formats(value: dict[str, Any], key: str) -> None:
    for name, expected, remedy in _EXPECTED:
        found = value.get(name)
        if found is not None and str(found).lower() != expected:
            what = (
                f"The manifest's {name} is not {expected}; what is read is {READ_FORMATS} in UTF-8"
            )
            raise BrokenManifestError(what, file=key, value=str(found), remedy=remedy)


def _text(value: dict[str, Any], name: str, key: str) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not text:
        raise BrokenManifestError(f"The manifest has no {name}", file=key)
    return text


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
    keys = [plain(item) if isinstance(item, str) else "" for item in listed]
    for raw, report in zip(listed, keys, strict=True):
        if not is_report_file(report):
            what = f"The manifest lists a file of another kind; what is read is {READ_FORMATS}"
            raise BrokenManifestError(what, file=key, value=str(raw), remedy=_SET_GZIP)
    _refuse_twice(keys, key)
    return tuple(keys)


def _refuse_twice(keys: Sequence[str], key: str) -> None:
    seen: set[str] = set()
    for report in keys:
        if report in seen:
            raise BrokenManifestError("The manifest lists a file twice", file=key, value=report)
        seen.add(report)


def _columns(value: dict[str, Any], key: str) -> tuple[str, ...]:
    stated = value.get("columns")
    if stated is None:
        return ()
    if not isinstance(stated, list):
        raise BrokenManifestError("The manifest's columns are no list", file=key)
    return tuple(_column(item, key) for item in stated)


def _column(item: object, key: str) -> str:
    category, name = (
        (item.get("category", ""), item.get("name")) if isinstance(item, dict) else ("", None)
    )
    if not isinstance(category, str) or not isinstance(name, str) or not name:
        what = "The manifest lists a column without a name"
        raise BrokenManifestError(what, file=key, value=str(item))
    return f"{category}/{name}" if category else name
