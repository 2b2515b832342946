"""Maps from the JSON text of report cells, many cells at a time.

A resource has the same tags in every hour, so each distinct text is parsed once. Texts without escapes, which are nearly all, are split
by regular expressions; the others are parsed by the domain, cell by cell. Polars' own decoder is not used: it writes numbers in another
way, takes the last of two equal keys and half characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing_lake.domain.map_texts import BadMapError, map_of

if TYPE_CHECKING:
    import polars as pl

_BLANK = r"[ \t\n\r]*"
_STRING = r'"[^"\\\x00-\x1f]*"'
_BARE = r"-?(?:0|[1-9][0-9]*)(?:[.][0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null"
_PAIR = rf"{_STRING}{_BLANK}:{_BLANK}(?:{_STRING}|{_BARE}){_BLANK}"
_PLAIN = rf"\A{_BLANK}\{{{_BLANK}(?:{_PAIR}(?:,{_BLANK}{_PAIR})*)?\}}{_BLANK}\z"
"""A flat object without escapes: the key and the value of each pair are its only tokens."""

_KEY_OR_VALUE = r'"[^"]*"|[^ \t\n\r{}:,"]+'


def maps(cell: pl.Expr) -> pl.Expr:
    """Return the text ``cell`` as maps of texts; an empty one is NULL. Where one is no map, the query raises."""
    return cell.map_batches(_parsed, return_dtype=_type(), is_elementwise=True)


def _parsed(cells: pl.Series) -> pl.Series:
    import polars as pl

    codes = cells.to_arrow().dictionary_encode()
    texts = pl.Series(codes.dictionary, dtype=pl.String())
    try:
        found = _distinct(texts).gather(pl.Series(codes.indices))
    except BadMapError as error:
        raise pl.exceptions.ComputeError(str(error)) from error
    return found.alias(cells.name)


def _distinct(texts: pl.Series) -> pl.Series:
    """Return ``texts``, none of which is NULL, as maps."""
    import polars as pl

    plain = texts.str.contains(_PLAIN)
    if plain.all():
        return _plain(texts)
    others = texts.filter(~plain)
    read = pl.Series([map_of(text) if text else None for text in others], dtype=_type())
    # Where each text has come to lie behind the plain ones, or among them.
    place = pl.concat([plain.arg_true(), (~plain).arg_true()]).arg_sort()
    return pl.concat([_plain(texts.filter(plain)), read]).gather(place)


def _plain(texts: pl.Series) -> pl.Series:
    """Return flat objects without escapes as maps."""
    import polars as pl
    import pyarrow as pa

    tokens = texts.str.extract_all(_KEY_OR_VALUE).to_arrow()
    flat = pl.Series(tokens.values, dtype=pl.String())
    keys = flat.gather_every(2).str.strip_chars('"')
    values = flat.gather_every(2, 1)
    values = values.set(values == "null", None).str.strip_chars('"')
    pairs = pl.struct(keys.alias("key"), values.alias("value"), eager=True).to_arrow()
    ends = pl.Series(tokens.offsets) // 2
    found = pl.Series(pa.LargeListArray.from_arrays(ends.to_arrow(), pairs)).cast(_type())
    if found.map.len().sum() != len(keys):
        raise BadMapError("A map has a key twice")
    return found


def _type() -> pl.Map:
    import polars as pl

    return pl.Map(pl.String(), pl.String())
