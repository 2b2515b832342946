"""Keys of maps in Parquet report files, as they were written: Polars keeps the last of two values under one key, and says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing_lake.domain.errors import BadValueError, ReportFileError, shown
from billing_lake.domain.types import Map

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

    from billing_lake.domain.schemas import Column, Field
    from billing_lake.domain.sources import SourceFile
    from billing_lake.engines.polars_access import Access


def maps_of(columns: Iterable[Column | Field]) -> set[str]:
    """Return the names of the columns that are maps."""
    return {one.name for one in columns if isinstance(one.type, Map)}


def refuse_repeated_keys(file: SourceFile, maps: Mapping[str, str], access: Access) -> None:
    """Look at the keys alone of the maps of a file; their values stay unread.

    Args:
        file: The file.
        maps: Column name of each of the file's own columns that holds maps, or lists of keys and values.
        access: Reads it.

    Raises:
        BadValueError: A map has a key twice.
        ReportFileError: The file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with access.files.open(file.uri) as stream:
            read = pq.ParquetFile(stream)
            schema = read.metadata.schema
            paths = [schema.column(n).path for n in range(len(schema.names))]
            for own, name in maps.items():
                keys = next(path for path in paths if path.startswith(f"{own}."))
                for batch in read.iter_batches(columns=[keys]):
                    if (twice := _repeated(batch.column(0))) is not None:
                        what = "A map has a key twice"
                        raise BadValueError(what, file=file.name, column=name, value=twice)
    except pa.ArrowException as error:
        what = f"The file is damaged, or no Parquet: {shown(error)}"
        raise ReportFileError(what, file=file.name) from error


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
