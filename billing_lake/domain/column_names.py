"""Names of columns in the lake's tables: what may be one, and those that the lake adds to every table."""

from __future__ import annotations

import unicodedata

EXPORT_NAME = "export_name"
BILLING_PERIOD = "billing_period"
DELIVERY_VERSION = "delivery_version"
SOURCE_FILE = "source_file"
LAKE_COLUMNS = {
    EXPORT_NAME: "Name of the export that the row is from. Added by the lake.",
    BILLING_PERIOD: "Billing period of the row, YYYY-MM. Added by the lake.",
    DELIVERY_VERSION: "Version of the delivery that the row is from. Added by the lake.",
    SOURCE_FILE: "Key of the report file that the row is from. Added by the lake.",
}
"""Columns that every table of the lake carries besides the report's own, with what they mean."""

MAX_NAME_BYTES = 255
"""Longest column name of the Glue Data Catalog and Athena, in bytes of UTF-8."""


def is_column_name(name: str) -> bool:
    """Say whether ``name`` may be a column of a table: lower-case letters, digits and marks of any script, and underscores."""
    return (
        name[:1].isalnum()
        and name == name.lower()
        and all(c == "_" or c.isalnum() or is_mark(c) for c in name)
        and len(name.encode()) <= MAX_NAME_BYTES
    )


def is_mark(character: str) -> bool:
    """Say whether ``character`` is a mark that belongs to the letter before it: an accent, a vowel sign."""
    return unicodedata.category(character)[0] == "M"
