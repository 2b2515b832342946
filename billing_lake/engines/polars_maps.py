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
    import pyarrow as pa

_KEPT_TEXTS = 10_000
"""Texts after which those are forgotten that do not come again."""
_MOST_TEXTS = 100_000
"""Texts after which all are forgotten."""

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

    def __len__(self) -> int:
        """Return how many texts are known."""
        return len(self._places)

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
            found = _distinct(new)
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
            known = len(self._places)
            forgets = known > _MOST_TEXTS or (known > _KEPT_TEXTS and 2 * len(new) > len(texts))
            if self._maps is None or forgets:
                # Most texts are new ones, and what is known does not come again; or it is too much to be copied for each new one.
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


def _distinct(texts: Sequence[str]) -> pl.Series:
    import polars as pl
    import pyarrow as pa

    return pl.Series(distinct_maps(pa.array(texts, pa.string())), dtype=_type())


def distinct_maps(found: pa.StringArray) -> pa.MapArray:
    """Return texts as maps of texts; an empty one, or none, is NULL.

    Raises:
        BadMapError: One is no map.
    """
    import polars as pl
    import pyarrow as pa

    texts = pl.Series(found)
    plain = texts.str.contains(_PLAIN)
    if plain.all():
        return _plain(texts)
    others = [[*map_of(text).items()] if text else None for text in texts.filter(~plain)]
    read = pa.array(others, pa.map_(pa.string(), pa.string()))
    # Where each text has come to lie behind the plain ones, or among them.
    place = pl.concat([plain.arg_true(), (~plain).arg_true()]).arg_sort()
    return pa.concat_arrays([_plain(texts.filter(plain)), read]).take(place.to_arrow())


def with_dictionaries(maps: pa.MapArray) -> pa.MapArray:
    """Return the same maps with each key and value in memory once: cheap to repeat, and to write as Parquet."""
    import pyarrow as pa

    pairs = [maps.keys.dictionary_encode(), maps.items.dictionary_encode()]
    validity, ends = maps.buffers()[:2]
    type_ = pa.map_(*(one.type for one in pairs))
    fields = [type_.key_field, type_.item_field]
    inner = pa.StructArray.from_arrays(pairs, fields=fields)
    return pa.Array.from_buffers(type_, len(maps), [validity, ends], children=[inner])


def _plain(texts: pl.Series) -> pa.MapArray:
    """Return flat objects without escapes as maps."""
    import numpy as np
    import polars as pl
    import pyarrow as pa

    tokens = texts.str.extract_all(_KEY_OR_VALUE).to_arrow()
    flat = pl.Series(tokens.values, dtype=pl.String())
    keys = flat.gather_every(2).str.strip_chars('"')
    values = flat.gather_every(2, 1)
    values = values.set(values == "null", None).str.strip_chars('"')
    pairs = [one.to_arrow().cast(pa.string()) for one in (keys, values)]
    ends = tokens.offsets.to_numpy() // 2
    codes = pairs[0].dictionary_encode().indices.to_numpy()
    of_map = np.repeat(np.arange(len(texts)), np.diff(ends))
    if len(np.unique(of_map * len(codes) + codes)) != len(codes):
        raise BadMapError("A map has a key twice")
    return pa.MapArray.from_arrays(pa.array(ends, pa.int32()), *pairs)


def _type() -> pl.Map:
    import polars as pl

    return pl.Map(pl.String(), pl.String())
