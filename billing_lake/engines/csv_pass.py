"""One pass over CSV reports: each file is decompressed, cut into blocks and parsed once; the same cells are totalled and encoded.

One thread reads; runs of consecutive blocks go to whichever worker is free, and each worker writes a file of its own, one row group a run.
Memory holds as many runs as there are workers, and one more. The totals are sums over the cells as they were parsed, before
anything is written: a proof that reads the files back still shows a fault of encoding, writing, placing or committing.

What a block holds beyond the usual is read again by the careful way, profile and encoding one after the other: it refuses what
has to be refused, with file, line and column, and gives the same rows and totals for all else.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from billing_lake.domain.profiles import Profile, merge
from billing_lake.engines.blocks import hashed_blocks
from billing_lake.engines.csv_columns import ParsedCells, Rows, is_for_one_pass
from billing_lake.engines.one_pass import (
    Writers,
    in_parallel,
    lasting_pages,
    once_or_carefully,
    run_bytes,
    runs_of,
)
from billing_lake.engines.polars_profile import profile_reports

if TYPE_CHECKING:
    import pyarrow as pa

    from billing_lake.domain.sources import EncodedFile, EncodeTarget, Source, SourceFile
    from billing_lake.engines.base import Log
    from billing_lake.engines.blocks import Block
    from billing_lake.engines.polars_access import Access

_BLOCK_BYTES = 3 << 19
"""Text of a block: what is parsed of it stays in the second cache of a core, and is looked at once for each column."""


def convert_reports(
    source: Source, target: EncodeTarget, access: Access, log: Log
) -> tuple[Profile, tuple[EncodedFile, ...]]:
    """Total and write the CSV report files of ``source``; see `Engine.convert`."""
    one_pass = _one_pass if is_for_one_pass(source, target) else None
    return once_or_carefully(one_pass, profile_reports, source, target, access, log)


def _one_pass(
    source: Source, target: EncodeTarget, access: Access, log: Log
) -> tuple[Profile, tuple[EncodedFile, ...]]:
    import pyarrow as pa

    parts: list[Profile] = []
    texts = pa.dictionary(pa.int32(), pa.string())
    files = Writers(target, source.roles, access.files, text_in_maps=texts)
    with lasting_pages(), files as writers:
        blocks = _blocks(source, access, parts, log)
        runs = runs_of(blocks, lambda one: len(one[1].data), run_bytes())
        profile = in_parallel(runs, partial(_convert, writers=writers), parts)
        return profile, writers.finish()


def _blocks(
    source: Source, access: Access, parts: list[Profile], log: Log
) -> Iterator[tuple[Rows, Block]]:
    """Yield the blocks of all files; add to ``parts`` the digest of each file that was read."""
    known = ParsedCells()
    for number, file in enumerate(source.files, start=1):
        rows = Rows(file, source, known)
        blocks, digest = hashed_blocks(access.files, file, source.compression, _BLOCK_BYTES)
        for block in blocks:
            yield rows, block
        parts.append(Profile().in_file(file.name, digest()))
        done = sum(part.rows for part in parts)
        log(
            f"convert: {number} of {len(source.files)} files are read, {done:,} rows are written so far"
        )


def _convert(run: list[tuple[Rows, Block]], writers: Writers) -> Profile:
    """Write the rows of a run, and return what they add up to."""
    size = sum(len(block.data) for _, block in run)
    found: list[Profile] = []
    tables: list[tuple[SourceFile, pa.Table]] = []
    for rows, blocks in _by_file(run):
        table, profile = rows.read(blocks)
        found.append(profile.in_file(rows.file.name))
        tables.append((rows.file, table))
    writers.write(tables, size)
    return merge(found)


def _by_file(run: list[tuple[Rows, Block]]) -> list[tuple[Rows, list[Block]]]:
    """Return the blocks of each file; ``run`` is empty afterwards, so that whoever reads a block can forget it."""
    found: list[tuple[Rows, list[Block]]] = []
    for rows, block in run:
        if not found or found[-1][0] is not rows:
            found.append((rows, []))
        found[-1][1].append(block)
    run.clear()
    return found
