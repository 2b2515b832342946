"""Compares what a month costs by two exports of the same payer, by account and service.

Formats that keep what is billed in the same column have to be equal to the last digit. Others round each line in a way of their
own, so a cent of a group is not told of.
"""

from __future__ import annotations

from billing_lake.formats.registry import FORMATS
from billing_lake.sql.all_costs import ViewPart, part_sql
from billing_lake.sql.named_queries import in_dialect
from billing_lake.sql.tables import Dialect, LakeTable

_BILLED = "billedcost"
_CODE, _NAME = "x_servicecode", "servicename"
_ROUNDING = "0.01"
"""Units of a currency by which a group may differ between formats with different columns."""


def billed_by_both(
    here: tuple[ViewPart, LakeTable],
    there: tuple[ViewPart, LakeTable],
    *,
    most: int,
    dialect: Dialect,
) -> str:
    """Return the query of what two exports bill, as far as they differ.

    It finds each payer and billing period: whether each of the two has it, how many groups of account, service and currency there
    are and how many of them differ, with a group and its two sums; the group that differs most, and further rows with the ``most``
    groups that do so most. The code of the service is compared where both tables have one, else its name.
    """
    given = [FORMATS[part.format].core(table.columns) for part, table in (here, there)]
    service = _CODE if all(_CODE in one for one in given) else _NAME
    limit = "0" if given[0].get(_BILLED) == given[1].get(_BILLED) else _ROUNDING
    differs = f"abs(here - there) > CAST({limit} AS DECIMAL(38, 18))"
    of_month = "OVER (PARTITION BY payer, billing_period"
    sql = f"""
        WITH lines AS (
            {_lines(*here, service, _cost(), "CAST(0 AS DECIMAL(38, 18))", "1", "0")}
            UNION ALL
            {_lines(*there, service, "CAST(0 AS DECIMAL(38, 18))", _cost(), "0", "1")}
        ), sums AS (
            SELECT payer, billing_period, account, service, currency, sum(here) AS here, sum(there) AS there,
                max(in_here) AS in_here, max(in_there) AS in_there
            FROM lines GROUP BY 1, 2, 3, 4, 5
        ), judged AS (
            SELECT payer, billing_period, account, service, currency, here, there,
                max(in_here) {of_month}) AS in_here, max(in_there) {of_month}) AS in_there,
                count(*) {of_month}) AS compared, count(CASE WHEN {differs} THEN 1 END) {of_month}) AS differing,
                row_number() {of_month} ORDER BY abs(here - there) DESC, account, service, currency) AS place
            FROM sums
        )
        SELECT payer, billing_period, in_here, in_there, compared, differing, account, service, currency, here, there
        FROM judged WHERE place = 1 OR (place <= {most} AND {differs}) ORDER BY 2, 1, place
    """  # noqa: S608 -- names of tables and exports are quoted or checked, the rest is ours
    return in_dialect(sql, dialect)


def _cost() -> str:
    return f"coalesce({_BILLED}, 0)"


def _lines(
    part: ViewPart,
    table: LakeTable,
    service: str,
    here: str,
    there: str,
    in_here: str,
    in_there: str,
) -> str:
    return (
        "SELECT coalesce(billingaccountid, '') AS payer, billing_period, coalesce(subaccountid, '') AS account, "  # noqa: S608
        f"coalesce({service}, '') AS service, coalesce(billingcurrency, '') AS currency, "
        f"{here} AS here, {there} AS there, {in_here} AS in_here, {in_there} AS in_there "
        f"FROM ({part_sql(part, table)}) AS part"
    )
