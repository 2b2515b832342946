"""Types of columns, written as Iceberg writes them."""

from __future__ import annotations

STRING = "string"
TIMESTAMP = "timestamptz"
DECIMAL = "decimal(38, 18)"
"""Money, rates and quantities."""

DECIMAL_SCALE = 18
"""Decimals of `DECIMAL`."""
