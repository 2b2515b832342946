"""Options that several commands have."""

from __future__ import annotations

from typing import Any

import click

from billing_lake.domain.periods import is_period

deployment = click.option(
    "--deployment",
    help="Where the lake is: local, local_spark or aws; BILLING_LAKE_DEPLOYMENT unless given.",
)
format_ = click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="CSV and JSON write every row; decimals exactly, in JSON as strings.",
)
limit = click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Rows that a table shows; 0 for all.",
)


def checked_period(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """Return a billing period, or several, that an option was given; refuse what is none."""
    for one in (value,) if isinstance(value, str) else value or ():
        if not is_period(one):
            raise click.BadParameter(f"{one!r} is not a billing period; write it YYYY-MM")
    return value
