"""The checks of `all_costs`: that it adds up to its tables, counts no bill twice, and that exports of one payer bill the same."""

from collections.abc import Iterator, Sequence

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.assets.all_costs import ALL_COSTS_KEY
from billing_lake.assets.export import DagsterExport
from billing_lake.assets.periods import named_failures
from billing_lake.checks.reconcile import HEAD, reconcile
from billing_lake.deployments import Lake
from billing_lake.domain.errors import counted
from billing_lake.loads.all_costs import counted_parts, counted_twice, view_and_tables
from billing_lake.sql.all_costs import ViewPart
from billing_lake.sql.tables import TableSql

EQUALS_TABLES = "equals_tables"
COUNTED_ONCE = "counted_once"
RECONCILE = "reconcile"

_SHOWN_ROWS = 20
_REPEATS = 2
"""Times that view and tables are asked again where they differ: Athena reads each when it is asked, and a load may come in between."""


def build_all_costs_checks(exports: Sequence[DagsterExport]) -> dg.AssetChecksDefinition:
    """Build the checks of the asset over ``exports``."""
    specs = [
        dg.AssetCheckSpec(
            EQUALS_TABLES,
            asset=ALL_COSTS_KEY,
            description="Whether cost and line items of each export, billing period and currency are those of the export's table.",
        ),
        dg.AssetCheckSpec(
            COUNTED_ONCE,
            asset=ALL_COSTS_KEY,
            description="Whether several exports count the same payer's month; `counts: false` leaves one of them out.",
        ),
    ]
    if any(one.reconcile for one in exports):
        specs.append(
            dg.AssetCheckSpec(
                RECONCILE,
                asset=ALL_COSTS_KEY,
                description="Whether exports bill each account and service the same as the one that their `reconcile` names.",
            )
        )

    @dg.multi_asset_check(name="all_costs_checks", specs=specs, can_subset=True)
    def all_costs_checks(
        context: dg.AssetCheckExecutionContext, billing_lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.AssetCheckResult]:
        selected = {one.name for one in context.selected_asset_check_keys}
        with named_failures():
            parts = counted_parts(billing_lake, exports)
            if not parts:
                for name in sorted(selected):
                    yield _result(
                        name, passed=True, text="No export that counts has been loaded yet"
                    )
                return
            with billing_lake.sql() as sql:
                view = sql.all_costs(parts)
                if EQUALS_TABLES in selected:
                    yield _equals_tables(sql, view, parts)
                if COUNTED_ONCE in selected:
                    yield _counted_once(sql, view)
                if RECONCILE in selected:
                    yield _reconcile(billing_lake, sql, exports)

    return all_costs_checks


def _equals_tables(sql: TableSql, view: str, parts: Sequence[ViewPart]) -> dg.AssetCheckResult:
    found, expected = view_and_tables(sql, view, parts)
    for _ in range(_REPEATS):
        if found == expected:
            break
        found, expected = view_and_tables(sql, view, parts)
    differences = [
        (
            *group,
            *(None if one is None else one.cost for one in (want, have)),
            *(None if one is None else one.line_items for one in (want, have)),
        )
        for group in sorted({*found, *expected})
        for want, have in [(expected.get(group), found.get(group))]
        if want != have
    ]
    groups = f"{counted(len(expected), 'group')} of export, billing period and currency"
    if not differences:
        text = f"Cost and line items of {groups} are those of the tables"
        return _result(EQUALS_TABLES, passed=True, text=text)
    head = (
        "export",
        "month",
        "currency",
        "cost in the table",
        "in the view",
        "line items in the table",
        "in the view",
    )
    text = f"{len(differences):,} of {groups} {'differs' if len(differences) == 1 else 'differ'} from the tables. Materialize all_costs again; if this stays, report it"
    return _result(EQUALS_TABLES, passed=False, text=text, head=head, rows=differences)


def _counted_once(sql: TableSql, view: str) -> dg.AssetCheckResult:
    rows = counted_twice(sql, view)
    if not rows:
        return _result(COUNTED_ONCE, passed=True, text="No payer's month is counted by two exports")
    payer, month, first, last = rows[0]
    text = (
        f"{counted(len(rows), 'month')} of payers counted by several exports, such as {month} of {payer} by {first} and {last}. "
        "Set `counts: false` for one of them, unless each delivers a part of the bill"
    )
    head = ("payer", "month", "export", "another one")
    return _result(COUNTED_ONCE, passed=False, text=text, head=head, rows=rows, warns=True)


def _reconcile(lake: Lake, sql: TableSql, exports: Sequence[DagsterExport]) -> dg.AssetCheckResult:
    found = reconcile(lake, sql, exports)
    text = ". ".join(found.texts)
    return _result(
        RECONCILE, passed=found.passed, text=text, head=HEAD, rows=found.rows, warns=True
    )


def _result(
    name: str,
    *,
    passed: bool,
    text: str,
    head: Sequence[str] = (),
    rows: Sequence[Sequence[object]] = (),
    warns: bool = False,
) -> dg.AssetCheckResult:
    table = markdown.table(head, rows, most=_SHOWN_ROWS) if rows else None
    return dg.AssetCheckResult(
        asset_key=ALL_COSTS_KEY,
        check_name=name,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        description=text,
        metadata={} if table is None else {"differences": table},
    )
