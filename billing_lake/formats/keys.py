"""Keys of files in a bucket or a landing folder, whatever the format."""

from __future__ import annotations

import re

MANIFEST_SUFFIX = "-Manifest.json"
"""How the name of a manifest ends, in all of AWS's exports."""

_SHORT_NAME = MANIFEST_SUFFIX.removeprefix("-")
"""What AWS's own pages shorten that name to."""

# Whatever else Unicode has may stand in a name: spaces of any width, letters of any script, joiners.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")


OWN_SAMPLES = ".samples.sha256"
"""Name of the file by which `billing-lake sample` knows its own files: it is no file of a bill."""


def plain_key(key: str) -> str:
    """Return ``key`` without its empty parts: `a/b` for `/a//b`, as a folder of a machine holds it.

    A bucket takes keys with empty parts, and reports without a prefix or with one that ends with a slash have them. All
    rules compare plain keys; a file is opened by the key that it has.
    """
    return "/".join(part for part in key.split("/") if part)


def is_safe_key(key: str) -> bool:
    """Say whether ``key`` is a plain path below a bucket: no control character, no empty, `.` or `..` part, no backslash."""
    return _UNSAFE.search(key) is None and not {"", ".", ".."} & set(key.split("/"))


def is_manifest(key: str) -> bool:
    """Say whether ``key`` is named as the manifest of a delivery is."""
    return key.endswith(MANIFEST_SUFFIX) or key.rpartition("/")[2] == _SHORT_NAME
