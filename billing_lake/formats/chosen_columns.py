"""Formats as one export delivers them: its owner may have given columns other names, which its settings tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache

from billing_lake.domain.errors import ConfigurationError, shown
from billing_lake.formats.base import Format

_COST = "cost"


def as_exported(format_: Format, renamed: Mapping[str, str]) -> Format:
    """Return ``format_`` for an export that has columns under other names; always the same one for the same names.

    Args:
        format_: The format.
        renamed: Header cell to the column that it is, by its name in the format or by its role: `usage_start`, `cost`.

    Raises:
        ConfigurationError: There is no such column or role, or two header cells are one column.
    """
    names = {raw: _column(format_, raw, meant) for raw, meant in renamed.items()}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        cells = ", ".join(shown(raw) for raw, name in names.items() if name in twice)
        what = f"Several names are said to be the column {twice[0]}: {cells}"
        raise ConfigurationError(what, remedy="Name one of them in `columns`")
    return _renamed(format_, tuple(sorted(names.items()))) if names else format_


# What is read of files is remembered by their format, which must be the same object for the same settings.
@lru_cache(maxsize=100)
def _renamed(format_: Format, names: tuple[tuple[str, str], ...]) -> Format:
    known = dict(names)
    return replace(
        format_,
        name_of=lambda raw: known.get(raw) or format_.name_of(raw),
        is_header=lambda cells: format_.is_header(known.get(raw, raw) for raw in cells),
    )


def _column(format_: Format, raw: str, meant: str) -> str:
    roles = {**asdict(format_.roles), _COST: next(iter(format_.headline_costs), None)}
    name = roles.get(meant) or meant
    if name in format_.known_columns:
        return name
    what = f"`columns` says of {shown(raw)!r} that it is {shown(meant)!r}, which {format_.name} has not"
    known = ", ".join(role for role, column in roles.items() if column)
    raise ConfigurationError(
        what, remedy=f"Give the name of a column of {format_.name}, or one of the roles: {known}"
    )
