"""Formats of billing exports: what the columns of a report mean. The only modules that know column names."""

from __future__ import annotations

from collections.abc import Mapping

from billing_lake.formats.base import Format
from billing_lake.formats.legacy_cur import LEGACY_CUR

FORMATS: Mapping[str, Format] = {one.name: one for one in (LEGACY_CUR,)}
"""Every format that is read, by its name."""
