"""Maps from the JSON text of report cells, many cells at a time.

A resource has the same tags in every hour, so a text that was parsed is remembered. Texts without escapes, which are nearly all, are split
by regular expressions; the others are parsed by the domain, cell by cell. Polars' own decoder is not used: it writes numbers in another
way, takes the last of two equal keys and half characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from billing_lake.domain.map_texts import BadMapError, map_of

if TYPE_CHECKING:
    import polars as pl

_KEPT_TEXTS = 10_000
"""Texts after which those are forgotten that do not come again."""

_BLANK = r"[ \t\n\r]*"
_STRING = r'"[^"\\\x00-\x1f]*"'
_BARE = r"-?(?:0|[1-9][0-9]*)(?:[.][0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null"
_PAIR = rf"{_STRING}{_BLANK}:{_BLANK}(?:{_STRING}|{_BARE}){_BLANK}"
_PLAIN = rf"\A{_BLANK}\{{{_BLANK}(?:{_PAIR}(?:,{_BLANK}{_PAIR})*)?\}}{_BLANK}\z"
"""A flat object without escapes: the key and the value of each pair are its only tokens."""

_KEY_OR_VALUE = r'"[^"]*"|[^ \t\n\r{}:,"]+'


def maps(cell: pl.Expr) -> pl.Expr:
    """Return the text ``cell`` as maps of texts; an empty one is NULL. Where one is no map, the query raises."""
    return cell.map_batches(Vocabulary().read, return_dtype=_type(), is_elementwise=True)


class Vocabulary:
    """The texts of a column that were parsed already: the engine hands out a few hundred cells at a time, in several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._places: dict[str, int] = {}
        self._maps: pl.Series | None = None

    def read(self, cells: pl.Series) -> pl.Series:
        """Return ``cells`` as maps.

        Raises:
            polars.exceptions.ComputeError: One is none.
        """
        import polars as pl

        codes = cells.to_arrow().dictionary_encode()
        texts = codes.dictionary.to_pylist()
        new = [text for text in texts if text not in self._places]
        try:
            found = _distinct(new) if new else pl.Series(dtype=_type())
        except BadMapError as error:
            raise pl.exceptions.ComputeError(str(error)) from error
        known, places = self._with(texts, new, found)
        at = pl.Series(places, dtype=pl.UInt32()).gather(pl.Series(codes.indices))
        return known.gather(at).alias(cells.name)

    def _with(
        self, texts: list[str], new: list[str], found: pl.Series
    ) -> tuple[pl.Series, list[int]]:
        """Add ``found``, the maps of the texts ``new``; return all maps, and the places of those of ``texts`` among them."""
        import polars as pl

        with self._lock:
            forgets = len(self._places) > _KEPT_TEXTS and 2 * len(new) > len(texts)
            if self._maps is None or forgets:
                # Most texts are new ones: what is known does not come again.
                self._places, self._maps = {}, found.clear()
            if new:
                start = len(self._maps)
                self._maps = pl.concat([self._maps, found], rechunk=True)
                self._places.update(zip(new, range(start, start + len(new)), strict=True))
            try:
                return self._maps, [self._places[text] for text in texts]
            except KeyError:
                # Another thread, or this one, has forgotten a text since.
                pass
        return _distinct(texts), [*range(len(texts))]


def _distinct(found: Sequence[str]) -> pl.Series:
    """Return the texts ``found`` as maps."""
    import polars as pl

    texts = pl.Series(found, dtype=pl.String())
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
