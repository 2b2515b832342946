"""Adapts a format to the settings of an export: columns that it renamed, and keys of maps that become columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from types import MappingProxyType

from billing_lake.domain.column_names import is_column_name
from billing_lake.domain.errors import ConfigurationError, shown
from billing_lake.domain.sources import MapEntryColumn
from billing_lake.domain.types import Map
from billing_lake.formats.base import Format

_COST = "cost"


def as_exported(
    format_: Format,
    renamed: Mapping[str, str] = MappingProxyType({}),
    map_keys: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Format:
    """Return ``format_`` for the settings of an export; always the same one for the same settings.

    Args:
        format_: The format.
        renamed: Header cell to the column that it is, by its name in the format or by its role: `usage_start`, `cost`.
        map_keys: Column of a map to keys of it that become columns of their own.

    Raises:
        ConfigurationError: There is no such column, map or role, or two of the names are one column.
    """
    names = {raw: _column(format_, raw, meant) for raw, meant in renamed.items()}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        cells = ", ".join(shown(raw) for raw, name in names.items() if name in twice)
        what = f"Several names are said to be the column {twice[0]}: {cells}"
        raise ConfigurationError(what, remedy="Name one of them in `columns`")
    lifted = tuple(
        _lifted(format_, name, key) for name in sorted(map_keys) for key in map_keys[name]
    )
    columns = Counter(one.column for one in lifted)
    if len(columns) < len(lifted):
        what = f"Several keys in `map_keys` become the column {columns.most_common(1)[0][0]}"
        raise ConfigurationError(what, remedy="Name one of them in `map_keys`")
    return _chosen(format_, tuple(sorted(names.items())), lifted) if names or lifted else format_


# What is read of files is remembered by their format, which must be the same object for the same settings.
@lru_cache(maxsize=100)
def _chosen(
    format_: Format, names: tuple[tuple[str, str], ...], lifted: tuple[MapEntryColumn, ...]
) -> Format:
    known = dict(names)
    return replace(
        format_,
        name_of=lambda raw: known.get(raw) or format_.name_of(raw),
        is_header=lambda cells: format_.is_header(known.get(raw, raw) for raw in cells),
        lifted=lifted,
        renamed=tuple(part for pair in names for part in pair),
    )


def _lifted(format_: Format, name: str, key: str) -> MapEntryColumn:
    maps = [one for one, type_ in format_.known_columns.items() if isinstance(type_, Map)]
    if name not in maps:
        what = f"`map_keys` names {shown(name)!r}, which is no map of {format_.name}"
        remedy = f"Its maps are: {', '.join(maps)}" if maps else "It has no maps"
        raise ConfigurationError(what, remedy=remedy)
    column = format_.name_of(f"{name}_{key}")
    if not is_column_name(column) or column in format_.known_columns:
        what = f"`map_keys` names the key {shown(key)!r} of {name}, which cannot become the column {shown(column)!r}"
        raise ConfigurationError(
            what,
            remedy="Name keys that are no columns of the format already, in letters and digits",
        )
    return MapEntryColumn(column, name, key)


def _column(format_: Format, raw: str, meant: str) -> str:
    roles = {**asdict(format_.roles), _COST: next(iter(format_.headline_costs), None)}
    name = roles.get(meant) or meant
    if name in format_.known_columns:
        return name
    what = f"`columns` says of {shown(raw)!r} that it is {shown(meant)!r}, which {format_.name} does not have"
    known = ", ".join(role for role, column in roles.items() if column)
    raise ConfigurationError(
        what, remedy=f"Give the name of a column of {format_.name}, or one of the roles: {known}"
    )
