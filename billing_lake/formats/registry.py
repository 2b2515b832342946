"""Every format that is read."""

from __future__ import annotations

from collections.abc import Mapping

from billing_lake.domain.errors import ConfigurationError, shown
from billing_lake.formats.base import Format
from billing_lake.formats.cur2 import CUR2
from billing_lake.formats.focus import FOCUS
from billing_lake.formats.legacy_cur import LEGACY_CUR

FORMATS: Mapping[str, Format] = {one.name: one for one in (LEGACY_CUR, CUR2, FOCUS)}
"""The formats by their names."""

DEFAULT_FORMAT = LEGACY_CUR
"""The format of an export that names none."""


def format_named(name: str) -> Format:
    """Return the format ``name``.

    Raises:
        ConfigurationError: There is none of that name.
    """
    if name in FORMATS:
        return FORMATS[name]
    what = f"There is no format {shown(name)!r}"
    raise ConfigurationError(what, remedy=f"Choose one of: {', '.join(FORMATS)}")
