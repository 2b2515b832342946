"""Compaction of an Iceberg table: many small data files of a billing period become few, and many manifests become few.

A reader opens every file of a period and every manifest of the table, whatever it asks for: a hundred files of ten rows are read
as slowly as some millions of rows. Loads write few files; what is added row by row, such as the restatements, and what Spark
writes for small months, is many.

Only the way in which rows lie changes. The new files are proved to hold the rows of the old ones before the one snapshot that
exchanges them; where a load replaced the period meanwhile, the load stays and the new files go. The snapshot says nothing of a
delivery, so that the last load of the period is still the one whose history is kept.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from billing_lake.domain.errors import LoadError
from billing_lake.domain.schemas import columns_of
from billing_lake.domain.sources import PeriodKey, Source
from billing_lake.files.local import path_or_uri
from billing_lake.tables.data_files import naming_write_errors, table_source
from billing_lake.tables.iceberg_columns import fields_of
from billing_lake.tables.iceberg_history import without_dead_manifests
from billing_lake.tables.iceberg_replacements import of_period

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import FileScanTask, Table

log = logging.getLogger(__name__)

COMPACTED_PROPERTY = "billing-lake.compacted-files"
"""Property of a snapshot that compacted a period: how many files became fewer."""

SMALL_BYTES = 4 << 20
"""Files of at least this size stay. To open one costs a reader what 10,000 rows of two columns do, some 0.8 MB: a fifth of that."""

FEWEST_FILES = 4
"""Small files of a period from which on it is compacted: DuckDB and pyiceberg need 2.5 times what they need for one file, Polars 1.2 times."""

FEWEST_MANIFESTS = 25
"""Manifests of a table from which on they are merged: to plan a query of all months takes six times as long as after it."""

_LARGEST_BYTES = 128 << 20
"""Small files that become one file have at most this size together."""

_MANIFEST_BYTES = 256 << 10
"""Size of merged manifests. A load reads and writes the one that lists its period, and a query of one month reads it, entry by entry."""

_FEWEST = "commit.manifest.min-count-to-merge"

_ROWS_IN_A_GROUP = 100_000

Prove = Callable[[Source, Source], None]
"""Raises where the rows of two sets of files differ."""


@dataclass(frozen=True, kw_only=True)
class Compacted:
    """Holds what was compacted, or would be.

    Attributes:
        key: The period; None for the manifests of an Iceberg table.
        files: Files or manifests before.
        fewer: Files or manifests afterwards.
    """

    key: PeriodKey | None
    files: int
    fewer: int


def small_files(table: Table) -> dict[PeriodKey, list[list[FileScanTask]]]:
    """Return the files of each period that is worth compacting, in groups that become one file each."""
    found: dict[PeriodKey, list[FileScanTask]] = defaultdict(list)
    for task in table.scan().plan_files():
        # Position deletes name rows of the file as it is.
        if task.file.file_size_in_bytes < SMALL_BYTES and not task.delete_files:
            export, period = str(task.file.partition[0]), str(task.file.partition[1])
            found[PeriodKey(export, period)].append(task)
    return {
        key: list(_groups(sorted(tasks, key=lambda task: task.file.file_path)))
        for key, tasks in sorted(found.items(), key=lambda one: (one[0].export, one[0].period))
        if len(tasks) >= FEWEST_FILES
    }


def compact(table: Table, prove: Prove, *, dry_run: bool) -> Iterator[Compacted]:
    """Compact the periods of a table that are worth it, then its manifests; yield what was done, or would be.

    Args:
        table: The table.
        prove: Called with the files of a period before and after, before they are exchanged.
        dry_run: Whether nothing is changed.
    """
    with naming_write_errors(table.location()):
        for key, groups in small_files(table).items():
            if dry_run or _compact_period(table, key, groups, prove):
                yield Compacted(key=key, files=sum(map(len, groups)), fewer=len(groups))
        manifests = _manifests(table)
        if manifests >= FEWEST_MANIFESTS and (dry_run or _merge_manifests(table)):
            # How many are left follows from their sizes, and is known when it is done.
            yield Compacted(key=None, files=manifests, fewer=1 if dry_run else _manifests(table))


def _groups(tasks: Sequence[FileScanTask]) -> Iterator[list[FileScanTask]]:
    group: list[FileScanTask] = []
    size = 0
    for task in tasks:
        if group and size + task.file.file_size_in_bytes > _LARGEST_BYTES:
            yield group
            group, size = [], 0
        group.append(task)
        size += task.file.file_size_in_bytes
    yield group


def _compact_period(
    table: Table, key: PeriodKey, groups: Sequence[Sequence[FileScanTask]], prove: Prove
) -> bool:
    """Compact one period; return False where somebody replaced it meanwhile."""
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    folder = f"{table.location().rstrip('/')}/data/{key.export}/{key.period}"
    stem = uuid.uuid4().hex
    written = [f"{folder}/{stem}-{number:05d}.parquet" for number in range(1, len(groups) + 1)]
    try:
        for uri, group in zip(written, groups, strict=True):
            _write(table, group, uri)
        columns = columns_of(fields_of(table))
        old = [path_or_uri(task.file.file_path) for group in groups for task in group]
        prove(table_source(old, columns), table_source(map(path_or_uri, written), columns))
    except BaseException:
        _remove(table, written)
        raise
    try:
        _exchange(table, key, [task for group in groups for task in group], written)
    except (CommitFailedException, ValidationException) as error:
        log.info("%s of %s was not compacted: %s", key.period, ".".join(table.name()), error)
        _remove(table, written)
        table.refresh()
        return False
    # After any other error nobody knows whether the commit was made: the files are in use, or found as orphans.
    return True


def _write(table: Table, tasks: Sequence[FileScanTask], uri: str) -> None:
    """Write the rows of some files as one file, with the table's columns of today.

    Raises:
        LoadError: Their number is not that which the table has.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    schema = schema_to_pyarrow(table.schema())
    rows = 0
    with (
        table.io.new_output(uri).create() as stream,
        pq.ParquetWriter(stream, schema, compression="zstd", store_schema=False) as writer,
    ):
        held: list[pa.Table] = []
        for batch in _batches(table, tasks):
            # Each by itself: the files that pyiceberg wrote have long strings, those of other writers have not.
            held.append(pa.Table.from_batches([batch]).cast(schema))
            rows += batch.num_rows
            if sum(map(len, held)) >= _ROWS_IN_A_GROUP:
                writer.write_table(pa.concat_tables(held))
                held = []
        if held:
            writer.write_table(pa.concat_tables(held))
    expected = sum(task.file.record_count for task in tasks)
    if rows != expected:
        what = f"{rows:,} rows were read where the table has {expected:,}"
        raise LoadError(what, file=uri)


def _batches(table: Table, tasks: Sequence[FileScanTask]) -> Iterator[Any]:
    """Yield the rows of files, one file after the other: asked for all at once, pyiceberg would hold all of them."""
    from pyiceberg.expressions import AlwaysTrue
    from pyiceberg.io.pyarrow import ArrowScan

    scan = ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue())
    for task in tasks:
        yield from scan.to_record_batches([task])


def _exchange(
    table: Table, key: PeriodKey, tasks: Sequence[FileScanTask], written: Sequence[str]
) -> None:
    """Commit one snapshot in which the period has the written files in place of the old ones."""
    from pyiceberg.io.pyarrow import parquet_file_to_data_file

    from billing_lake.tables.iceberg_transactions import LakeTransaction

    with LakeTransaction(table) as transaction:
        metadata = transaction.table_metadata
        added = [parquet_file_to_data_file(table.io, metadata, uri) for uri in written]
        properties = {COMPACTED_PROPERTY: str(len(tasks))}
        with transaction.update_snapshot(snapshot_properties=properties).overwrite() as snapshot:
            without_dead_manifests(snapshot)
            # The filter by which pyiceberg finds out whether another commit changed the period meanwhile.
            snapshot.delete_by_predicate(of_period(key))
            for task in tasks:
                snapshot.delete_data_file(task.file)
            for file in added:
                snapshot.append_data_file(file)


def _merge_manifests(table: Table) -> bool:
    """Commit a snapshot without rows of its own, for which pyiceberg writes the manifests anew; False where others came first."""
    from pyiceberg.exceptions import CommitFailedException

    from billing_lake.tables.iceberg_transactions import LakeTransaction

    try:
        with LakeTransaction(table) as transaction:
            transaction.set_properties(
                {
                    "commit.manifest-merge.enabled": "true",
                    "commit.manifest.target-size-bytes": f"{_MANIFEST_BYTES}",
                    # It is also the least number that become one, and of the last ones there may be fewer.
                    _FEWEST: "2",
                }
            )
            with transaction.update_snapshot().merge_append():
                pass
            # Other writers, which merge with each of their commits, shall not do so for two.
            transaction.set_properties({_FEWEST: f"{FEWEST_MANIFESTS}"})
    except CommitFailedException as error:
        log.info("manifests of %s were not merged: %s", ".".join(table.name()), error)
        table.refresh()
        return False
    return True


def _manifests(table: Table) -> int:
    now = table.current_snapshot()
    return 0 if now is None else len(now.manifests(table.io))


def _remove(table: Table, written: Sequence[str]) -> None:
    for uri in written:
        try:
            table.io.delete(uri)
        except OSError as error:
            log.warning("could not remove %s: %s", uri, error)
