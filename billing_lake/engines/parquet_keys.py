"""Keys of maps in Parquet report files, as they were written: Polars keeps the last of two values under one key, and says nothing.

To read the keys a second time, beside Polars, takes a fifth of the time of a pass. That a file has none twice shows without it: its
footer states how many keys there are, and as many come out.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING

from billing_lake.domain.errors import BadValueError, ReportFileError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa
    import pyarrow.parquet as pq

    from billing_lake.domain.sources import SourceFile
    from billing_lake.engines.polars_access import Access


def stated_keys(file: SourceFile, maps: Mapping[int, str], access: Access) -> dict[str, int]:
    """Return how many keys the footer of a file states for each of ``maps``; a map without entries, or none, counts as one.

    Args:
        file: The file.
        maps: Column name of each of the file's columns that hold maps, by its place.
        access: Reads the footer.

    Raises:
        ReportFileError: The file is damaged.
    """
    with _opened(file, access) as read:
        footer, keys = read.metadata, _first_leaves(read.schema_arrow)
        groups = [footer.row_group(n) for n in range(footer.num_row_groups)]
        return {
            name: sum(group.column(keys[place]).num_values for group in groups)
            for place, name in maps.items()
        }


def refuse_repeated_keys(file: SourceFile, maps: Mapping[int, str], access: Access) -> None:
    """Look at the keys alone of the maps of a file; their values stay unread.

    Args:
        file: The file.
        maps: Column name of each of the file's columns that hold maps, anywhere in them, or lists of keys and values, by its place.
        access: Reads it.

    Raises:
        BadValueError: A map has a key twice.
        ReportFileError: The file is damaged, or not all keys can be read.
    """
    with _opened(file, access) as read:
        types, first = read.schema_arrow.types, _first_leaves(read.schema_arrow)
        for place, name in maps.items():
            for leaf in [*_key_leaves(types[place], first[place])] or [first[place]]:
                path, rows = read.metadata.schema.column(leaf).path, 0
                for batch in read.iter_batches(columns=[path]):
                    rows += len(batch)
                    if (twice := _repeated(_innermost(batch.column(0)))) is not None:
                        what = "A map has a key twice"
                        raise BadValueError(what, file=file.name, column=name, value=twice)
                if rows != read.metadata.num_rows:
                    # Of pages that pyarrow cannot read it may say nothing.
                    what = f"The keys of the maps in {shown(name)} cannot be read"
                    raise ReportFileError(what, file=file.name)


@contextmanager
def _opened(file: SourceFile, access: Access) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with access.files.open(file.uri) as stream, pq.ParquetFile(stream) as read:
            yield read
    except pa.ArrowException as error:
        what = f"The file is damaged, or no Parquet: {shown(error)}"
        raise ReportFileError(what, file=file.name) from error


def _first_leaves(schema: pa.Schema) -> list[int]:
    """Return the first leaf of each column, a plain column of those that it consists of: of a map, its keys."""
    return [*accumulate(map(_leaves, schema.types), initial=0)][:-1]


def _leaves(type_: pa.DataType) -> int:
    return sum(map(_leaves, _parts(type_))) or 1


def _parts(type_: pa.DataType) -> list[pa.DataType]:
    return [type_.field(n).type for n in range(type_.num_fields)]


def _key_leaves(type_: pa.DataType, first: int) -> Iterator[int]:
    """Return the leaves that are keys of maps, of a type whose first one is ``first``."""
    import pyarrow as pa

    if pa.types.is_map(type_):
        yield first
    for part in _parts(type_):
        yield from _key_leaves(part, first)
        first += _leaves(part)


def _innermost(found: pa.Array) -> pa.ListArray:
    """Return the maps whose keys are all that was read of ``found``."""
    import pyarrow as pa

    while True:
        if pa.types.is_struct(found.type):
            (found,) = found.flatten()
            continue
        entries = found.flatten()
        if pa.types.is_struct(entries.type) and not pa.types.is_nested(entries.type.field(0).type):
            return found
        found = entries


def _repeated(maps: pa.ListArray) -> str | None:
    """Return a key that stands twice in one of ``maps``."""
    import numpy as np
    import pyarrow.compute as pc

    keys = maps.flatten().field(0).dictionary_encode()
    lengths = pc.fill_null(pc.list_value_length(maps), 0).to_numpy()
    of_map = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    pairs = of_map * max(len(keys.dictionary), 1) + keys.indices.to_numpy(zero_copy_only=False)
    pairs.sort(kind="stable")  # nearly in order already
    again = np.flatnonzero(pairs[1:] == pairs[:-1])
    if not len(again):
        return None
    return str(keys.dictionary[int(pairs[again[0]]) % len(keys.dictionary)].as_py())
