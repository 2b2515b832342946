"""Finds the table of AWS Data Exports that a manifest or a header belongs to: nothing in it says so, but its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from billing_lake.formats.report_files import Kind

CUR2 = "CUR 2.0"
FOCUS = "FOCUS"
RECOMMENDATIONS = "Cost Optimization Hub recommendations"
CARBON = "carbon emissions"
DASHBOARD = "the cost and usage dashboard"

NO_BILL = "It is no bill: leave it as it is, and set `prefix` and `report` to an export of CUR 2.0 or FOCUS"
"""What to do about a table that holds no costs."""

_KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(CUR2, "Set `format: cur2` in the export's defs.yaml"),
        Kind(FOCUS, "Set `format: focus` in the export's defs.yaml"),
        Kind(RECOMMENDATIONS, NO_BILL),
        Kind(CARBON, NO_BILL),
        Kind(DASHBOARD, NO_BILL),
    )
}
_BY_COLUMN = {
    "billedcost": FOCUS,
    "recommendationid": RECOMMENDATIONS,
    "usageperiodstart": CARBON,
    "risptrueup": DASHBOARD,
}
"""Columns, by their letters, that only one table has."""

_LINE_ITEM = "lineitem"


def table_of(columns: Iterable[str]) -> Kind | None:
    """Return the table that has ``columns``; None where they do not say: in the SQL of an export any may be left out or renamed."""
    letters = {column.lower().replace("_", "") for column in columns}
    if any(name.startswith(_LINE_ITEM) for name in letters):
        return _KINDS[CUR2]
    return next((_KINDS[table] for name, table in _BY_COLUMN.items() if name in letters), None)
