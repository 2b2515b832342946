"""Makes the metadata of materialisations, in the same words for every asset."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from billing_lake.assets import markdown
from billing_lake.domain.column_names import LAKE_COLUMNS
from billing_lake.domain.errors import shown
from billing_lake.domain.profiles import Profile
from billing_lake.domain.schemas import Column, Field

if TYPE_CHECKING:
    from billing_lake.formats.base import Format

PREVIEW_ROWS = 5

_FIGURES = ("rows", "totals", "sums", "filled")
_PLOTTED_CURRENCIES = 5
_PREVIEW_CELL_CHARACTERS = 40
_DECIMAL = re.compile(r"-?\d+\.\d+")


def column_schema(columns: Iterable[Column | Field], format_: Format) -> dg.TableSchema:
    """Return the columns as the UI shows them, with what they mean."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=str(column.type),
                description=LAKE_COLUMNS.get(column.name) or format_.describe(column.name),
            )
            for column in columns
        ]
    )


def cost_metadata(profile: Profile, format_: Format) -> dict[str, Any]:
    """Return the totals: those that matter most as numbers, which the UI plots over billing periods, and all of them as a table.

    A number is named after cost and currency (`unblended_cost_usd`) and has the 15 digits of a float; the table has them all.
    """
    numbers = {
        f"{short}_{_word(currency)}": float(profile.totals[currency][name])
        for currency in sorted(profile.totals)[:_PLOTTED_CURRENCIES]
        for name, short in format_.headline_costs.items()
        if name in profile.totals[currency]
    }
    return {**numbers, "totals": _totals(profile, format_)}


def _totals(profile: Profile, format_: Format) -> dg.MarkdownMetadataValue:
    """Return the totals, one row a cost column, the most important ones first.

    Amounts stand before the names, which are so long that the UI would cut the amounts off in a window of 1,300 pixels.
    """
    currencies = sorted(profile.totals)
    found = {name for one in profile.totals.values() for name in one}
    names = [name for name in format_.headline_costs if name in found]
    return markdown.table(
        (*currencies, "cost"),
        (
            (*(profile.totals[currency].get(name) for currency in currencies), name)
            for name in (*names, *sorted(found.difference(names)))
        ),
    )


def usage_metadata(profile: Profile) -> dict[str, Any]:
    """Return the first and the last start of usage, as moments that the UI shows in its reader's time zone."""
    return {
        name: dg.MetadataValue.timestamp(datetime.fromisoformat(moment.replace("Z", "+00:00")))
        for name, moment in (
            ("first_usage", profile.first_usage),
            ("last_usage", profile.last_usage),
        )
        if moment is not None
    }


def proof_figures(profile: Profile) -> dg.JsonMetadataValue:
    """Return what a proof compares with: rows, totals, sums, filled cells; exact because numbers are text."""
    values = profile.to_json()
    return dg.MetadataValue.json({name: values[name] for name in _FIGURES})


def profile_of_figures(values: Mapping[str, Any]) -> Profile:
    """Return the profile that `proof_figures` wrote."""
    return Profile.from_json(values)


def preview_table(rows: Iterable[Mapping[str, str]]) -> dg.MarkdownMetadataValue:
    """Return rows as a table."""
    sample = list(rows)
    head = tuple(sample[0]) if sample else ("no rows",)
    return markdown.table(head, ([_cell(row.get(name, "")) for name in head] for row in sample))


def without_none(**values: Any) -> dict[str, Any]:
    """Return the metadata that has a value."""
    return {name: value for name, value in values.items() if value is not None}


def engine_facts(facts: Mapping[str, str | int | float]) -> dict[str, Any]:
    """Return which engine worked and what it says about its last call; an address becomes a link."""
    return {
        name: dg.MetadataValue.url(fact)
        if isinstance(fact, str) and fact.startswith("https://")
        else fact
        for name, fact in facts.items()
    }


def _cell(text: str) -> str:
    """Return a cell shortened, a decimal without the zeros that its type has behind it."""
    if _DECIMAL.fullmatch(text):
        return text.rstrip("0").rstrip(".")
    return shown(text, _PREVIEW_CELL_CHARACTERS)


def _word(currency: str) -> str:
    """Return a currency as a part of a name: `usd`."""
    return "_".join(re.findall(r"[a-z0-9]+", shown(currency, _PREVIEW_CELL_CHARACTERS).lower()))
