"""Changes of a table's columns that every catalog plans alike."""

from __future__ import annotations

from collections.abc import Sequence

from billing_lake.domain.errors import SchemaChangeError
from billing_lake.domain.schemas import Field, SchemaPlan, columns_of, plan


def plan_evolution(table: str, have: Sequence[Field], planned: SchemaPlan) -> SchemaPlan:
    """Plan again what was ``planned``, for a table that another load may have changed since.

    Args:
        table: Name of the table, such as `billing.cur`.
        have: Its fields now.
        planned: The plan that was made of its fields as they were.

    Returns:
        The table's fields after the change, and how they differ from ``have``.

    Raises:
        SchemaChangeError: A column got a type that no promotion joins with the planned one.
    """
    again = plan(have, columns_of(planned.fields))
    if again.diff.incompatible:
        change = again.diff.incompatible[0]
        what = f"The column is {change.table} in table {table} and {change.delivery} in the plan"
        raise SchemaChangeError(what, column=change.name)
    return again
