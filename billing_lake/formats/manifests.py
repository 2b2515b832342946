"""Manifests of any format: the JSON that lists a delivery's files and columns.

A manifest decides what is read and what is replaced, and it comes from outside. It is believed only for what it lists, and
only when all it says agrees with the place where it lies.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from billing_lake.domain.errors import BrokenManifestError, shown

MAX_MANIFEST_BYTES = 32 * 1024 * 1024
"""Largest manifest that is read, in bytes; those of the largest organisations have some hundred kilobytes."""

_MAX_VERSION_CHARACTERS = 256


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Holds what a manifest says.

    Attributes:
        version: Id of the delivery.
        period: Billing period.
        bucket: Bucket that the delivery lies in.
        keys: Report files, as plain keys.
        columns: Header cells that it promises; empty where it states none.
        format_version: Version of the format's specification that it states; empty where it states none.
    """

    version: str
    period: str
    bucket: str
    keys: tuple[str, ...]
    columns: tuple[str, ...] = ()
    format_version: str = ""


def require_manifest_size(size: int, key: str) -> None:
    """Refuse a manifest of more than `MAX_MANIFEST_BYTES` bytes, before it is read.

    Raises:
        BrokenManifestError: It is larger.
    """
    if size > MAX_MANIFEST_BYTES:
        what = f"The manifest has {size:,} bytes; at most {MAX_MANIFEST_BYTES:,} are read"
        raise BrokenManifestError(what, file=key)


def load_manifest(data: bytes, key: str) -> dict[str, Any]:
    """Return the JSON object of a manifest.

    Raises:
        BrokenManifestError: It is none.
    """
    require_manifest_size(len(data), key)
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


def required_text(value: dict[str, Any], name: str, key: str) -> str:
    """Return the text that a manifest must have as ``name``.

    Raises:
        BrokenManifestError: It has none.
    """
    text = value.get(name)
    if not isinstance(text, str) or not text:
        raise BrokenManifestError(f"The manifest has no {name}", file=key)
    return text


def required_version(value: dict[str, Any], name: str, key: str) -> str:
    """Return the id of a delivery that a manifest must have as ``name``.

    Raises:
        BrokenManifestError: It has none, or one that is no id.
    """
    version = required_text(value, name, key)
    if len(version) > _MAX_VERSION_CHARACTERS or not version.isprintable():
        raise BrokenManifestError(f"The manifest's {name} is no id", file=key, value=version)
    return version


def stated_columns(value: dict[str, Any], key: str) -> tuple[str, ...]:
    """Return the header cells that a manifest states; none where it states none.

    Raises:
        BrokenManifestError: They are no list, or one has no name.
    """
    stated = value.get("columns")
    if stated is None:
        return ()
    if not isinstance(stated, list):
        raise BrokenManifestError("The manifest's columns are no list", file=key)
    return tuple(_cell(item, key) for item in stated)


def refuse_twice(keys: Sequence[str], key: str) -> None:
    """Refuse a manifest that lists a file twice.

    Raises:
        BrokenManifestError: It does.
    """
    seen: set[str] = set()
    for report in keys:
        if report in seen:
            raise BrokenManifestError("The manifest lists a file twice", file=key, value=report)
        seen.add(report)


def _cell(item: object, key: str) -> str:
    """Return a header cell: its name, with its category before it in legacy CUR."""
    category, name = (
        (item.get("category", ""), item.get("name")) if isinstance(item, dict) else ("", None)
    )
    if not isinstance(category, str) or not isinstance(name, str) or not name:
        what = "The manifest lists a column without a name"
        raise BrokenManifestError(what, file=key, value=str(item))
    return f"{category}/{name}" if category else name


def _refuse_half_characters(value: dict[str, Any], key: str) -> None:
    """Refuse half of a surrogate pair, which JSON can spell: no file has such a name, and no other text can hold it."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        near = error.object[max(0, error.start - 20) : error.end + 20]
        what = "The manifest has text that is half a character (a lone surrogate)"
        raise BrokenManifestError(what, file=key, value=near) from error
