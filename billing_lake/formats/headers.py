"""Headers of report files: the column of each cell, and what a header must have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256

from billing_lake.domain.column_names import LAKE_COLUMNS, MAX_NAME_BYTES
from billing_lake.domain.errors import (
    BadHeaderError,
    DuplicateHeaderError,
    MissingColumnError,
    shown,
)
from billing_lake.domain.shared_columns import first_of, further_name
from billing_lake.domain.types import STRING
from billing_lake.formats.base import Format

MAX_COLUMNS = 5_000
"""Most columns of a report file; the widest public ones have some 1,000, and each costs every row."""

_SELECT = (
    "Add them to the SELECT of the export's SQL and have the period delivered again; where they are there under other names, "
    "say so in the export's defs.yaml, as `columns: {my_cost: cost}`; no table was changed"
)
_NOT_LIFTED = (
    "Take the key from `map_keys` in the export's defs.yaml, or the column from the export's SQL"
)
_DIGEST_CHARACTERS = 8
_LONGEST_BYTES = MAX_NAME_BYTES - len("__999")


def column_names(header: Sequence[str], file: str, format_: Format) -> tuple[str, ...]:
    """Return the column name of each cell of ``header``, in its order.

    Of cells that share a name, the first has it and each further one has it with a number, `name__2`; those that must agree
    have the same.

    Args:
        header: Header cells as the file has them.
        file: The file's name, for errors.
        format_: The format of the report.

    Raises:
        DuplicateHeaderError: The same cell stands twice.
        BadHeaderError: There are too many cells, or one cannot become a column name or takes a name that the lake itself uses.
    """
    if len(header) > MAX_COLUMNS:
        what = f"The header has {len(header):,} cells; at most {MAX_COLUMNS:,} columns are read"
        raise BadHeaderError(what, file=file, line=1)
    seen: set[str] = set()
    count: dict[str, int] = {}
    names = []
    for position, raw in enumerate(header, start=1):
        if raw in seen:
            what = "The header names the same column twice"
            raise DuplicateHeaderError(what, file=file, line=1, column=raw)
        seen.add(raw)
        name = format_.name_of(raw)
        if not name:
            what = (
                f"Header cell {position} has no letter or digit that a column name could be made of"
            )
            raise BadHeaderError(what, file=file, line=1, value=raw)
        if len(name) > MAX_NAME_BYTES:
            what = f"Header cell {position} has {len(raw):,} characters; a column name has at most {MAX_NAME_BYTES}"
            raise BadHeaderError(what, file=file, line=1, value=shown(raw, 40))
        if name in LAKE_COLUMNS:
            what = f"Header cell {position} takes the name of a column that the lake adds itself"
            raise BadHeaderError(what, file=file, line=1, column=raw)
        name = _shortened(name)
        count[name] = count.get(name, 0) + 1
        agree = name == format_.roles.currency or format_.type_of(name) != STRING
        names.append(name if agree else further_name(name, count[name]))
    for lifted in format_.lifted:
        if lifted.column in count:
            what = f"`map_keys` makes a column of the key {shown(lifted.key)!r}, and the header has one of that name"
            raise BadHeaderError(what, remedy=_NOT_LIFTED, file=file, line=1, column=lifted.column)
    return tuple(names)


def require_columns(names: Sequence[str], file: str, format_: Format) -> None:
    """Refuse a report file that can be neither dated nor totalled.

    Args:
        names: Column names, as `column_names` gives them.
        file: The file's name, for errors.
        format_: The format of the report.

    Raises:
        MissingColumnError: A column is missing that the format requires.
    """
    missing = [name for name in format_.required if name not in names]
    if missing:
        what = "The report lacks columns without which it can be neither dated nor totalled"
        listed = ", ".join(f"{name} ({format_.role_of(name)})" for name in missing)
        what = f"{what}: {listed}"
        remedy = _SELECT if format_.chosen_by_sql else None
        raise MissingColumnError(what, file=file, line=1, remedy=remedy)


def require_promised(
    header: Sequence[str], promised: Sequence[str], file: str, format_: Format
) -> None:
    """Refuse a file that lacks a column which the manifest promises; spelling and order make no difference.

    Args:
        header: Header cells as the file has them.
        promised: Header cells as the manifest has them; nothing is compared where it states none.
        file: The file's name, for errors.
        format_: The format of the report.

    Raises:
        BadHeaderError: A column is missing.
    """
    have, want = (
        Counter(format_.name_of(raw) for raw in dict.fromkeys(cells))
        for cells in (header, promised)
    )
    for raw in promised:
        name = format_.name_of(raw)
        if want[name] > have[name]:
            what = "The header lacks a column that the manifest promises"
            raise BadHeaderError(what, file=file, line=1, column=raw)


def unlisted_columns(
    names: Sequence[str], promised: Sequence[str], format_: Format
) -> tuple[str, ...]:
    """Return those of the columns ``names`` that a manifest, which promises the header cells ``promised``, does not list."""
    listed = {_shortened(format_.name_of(raw)) for raw in promised}
    listed |= {one.column for one in format_.lifted} if promised else set()
    return tuple(name for name in names if listed and first_of(name) not in listed)


def _shortened(name: str) -> str:
    """Return ``name`` with room for a number: a tag of 128 letters of a script with long letters is longer than `MAX_NAME_BYTES`.

    What is cut off is in the digest at the end, so two long names stay two.
    """
    data = name.encode(errors="replace")
    if len(data) <= _LONGEST_BYTES:
        return name
    start = data[: _LONGEST_BYTES - _DIGEST_CHARACTERS - 1].decode(errors="ignore").rstrip("_")
    return f"{start}_{sha256(data).hexdigest()[:_DIGEST_CHARACTERS]}"
