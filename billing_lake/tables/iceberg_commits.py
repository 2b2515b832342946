"""Commits to Iceberg tables: files are placed, then one snapshot replaces the rows, tried until it wins or must not.

Which of several loads wins is decided here and nowhere else: the table is read, *then* the delivery is verified, *then* the
commit is tried on what was read. When the table changed in between, all three are done again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from billing_lake.aws.errors import did_nothing
from billing_lake.domain.errors import (
    BillingLakeError,
    CommitConflictError,
    CommitUnknownError,
    LoadError,
    shown,
)
from billing_lake.domain.schemas import SchemaPlan
from billing_lake.tables.base import EXPORT, Commit, refuse_others
from billing_lake.tables.commit_retries import retry_while_overtaken
from billing_lake.tables.data_files import Placing, open_encoded
from billing_lake.tables.iceberg_columns import change_columns
from billing_lake.tables.iceberg_history import without_dead_manifests
from billing_lake.tables.iceberg_opening import open_table
from billing_lake.tables.iceberg_replacements import (
    Replacement,
    commit_of,
    equal_to,
    is_committed,
)
from billing_lake.tables.parquet_field_ids import check_fields, check_footers

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import CommitTableResponse, Table, Transaction

    from billing_lake.files.base import Files

log = logging.getLogger(__name__)

_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses between reads of the table, when a remote catalog did not answer whether it has committed."""


class IcebergCommits:
    """Commits of one catalog.

    Args:
        files: The files of the storage in which its tables lie.
        patience_seconds: Time for which a commit is tried again while others commit before it.
        is_remote: Whether the catalog may go on with a commit after its answer was lost. A database does not.
        is_streamed: Whether the storage cannot copy an object by itself.
    """

    def __init__(
        self,
        catalog: Catalog,
        files: Files,
        *,
        patience_seconds: float,
        is_remote: bool,
        is_streamed: bool,
    ) -> None:
        self._catalog = catalog
        self._files = files
        self._patience_seconds = patience_seconds
        self._is_remote = is_remote
        self._is_streamed = is_streamed

    def commit(self, replacement: Replacement) -> Commit:
        """Place the files of a replacement and commit it; what was placed and is not committed is removed."""
        table = open_table(self._catalog, replacement.table)
        planned = replacement.plan(table).fields
        check_fields(replacement.table, planned, replacement.fields)
        for encoded in replacement.periods.values():
            check_footers(encoded, partial(open_encoded, self._files))
        try:
            self._place(table, replacement)
            return self._commit(replacement)
        except BaseException:
            self._remove_placed(replacement)
            raise

    def _place(self, table: Table, replacement: Replacement) -> None:
        """Place the files that have rows below the table; each is recorded as placed before it is begun."""
        replacement.table_uuid = table.metadata.table_uuid
        folder = f"{table.location().rstrip('/')}/data/{replacement.export}"
        sizes = [file.size for _, file in replacement.files]
        placing = Placing(replacement.table, sizes, replacement.log)
        copy = self._files.send if self._is_streamed else self._files.copy
        for number, (period, file) in enumerate(replacement.files, start=1):
            uri = f"{folder}/{period}/{replacement.token}-{number:05d}.parquet"
            replacement.placed.append(uri)
            placing.begin(number)
            copy(file.uri, uri, placing.arrived)
        placing.end()

    def _commit(self, replacement: Replacement) -> Commit:
        from pyiceberg.exceptions import CommitFailedException, ValidationException

        conflict = f"Other writers kept winning the commit to table {replacement.table}"
        lost = (CommitFailedException, ValidationException)
        return retry_while_overtaken(conflict, self._patience_seconds, *lost)(
            self._try_commit, replacement
        )

    def _try_commit(self, replacement: Replacement) -> Commit:
        from pyiceberg.exceptions import CommitFailedException, ValidationException

        replacement.reads = 0
        catalog = cast("Catalog", VerifyingCatalog(self._catalog, replacement))
        # pyiceberg tries again by itself where another period was committed first: the delivery is verified then, too.
        table = open_table(catalog, replacement.table)
        table.catalog = catalog
        try:
            return commit_of(overwrite(table, replacement), replacement)
        except (CommitFailedException, ValidationException):
            raise
        except BaseException as error:
            if not replacement.is_sent or isinstance(error, BillingLakeError):
                raise
            replacement.in_doubt = True
            if not isinstance(error, Exception):
                raise
            refused = did_nothing(error)
            is_final = refused or not self._is_remote
            is_read, commit = self._find_commit(replacement, () if is_final else _PAUSES_SECONDS)
            replacement.in_doubt = commit is not None or not (refused and is_read)
            if commit is None and is_final:
                raise
            if commit is None:
                what = f"It is not known whether the load was committed to table {replacement.table}: {shown(error, 400)}"
                raise CommitUnknownError(what) from error
            _log_failure_of_success(replacement, error)
            return commit

    def _find_commit(
        self, replacement: Replacement, pauses_seconds: Sequence[float]
    ) -> tuple[bool, Commit | None]:
        """Look for the replacement's snapshot; a remote catalog may take a while to finish a commit it did not answer.

        Returns:
            Whether the last read of the table succeeded, and the commit if it was there.
        """
        is_read = False
        for pause in (0.0, *pauses_seconds):
            time.sleep(pause)
            try:
                return True, commit_of(open_table(self._catalog, replacement.table), replacement)
            except LookupError:
                is_read = True
            except Exception as error:  # noqa: BLE001  # what failed the commit may fail the read, too
                is_read = False
                log.warning("could not look for the commit to %s: %r", replacement.table, error)
        return is_read, None

    def _remove_placed(self, replacement: Replacement) -> None:
        """Remove the placed files, unless a snapshot refers to them or may do so later."""
        if replacement.in_doubt and self._is_remote:
            return
        try:
            if replacement.in_doubt and is_committed(
                open_table(self._catalog, replacement.table), replacement
            ):
                return
            for uri in replacement.placed:
                self._files.remove(uri)
        except Exception as error:  # noqa: BLE001  # what failed the load is being raised, and matters more
            log.warning("could not remove the placed files of %s: %r", replacement.table, error)


class VerifyingCatalog:
    """A catalog that verifies the deliveries of one replacement each time it has read the table.

    A commit that is reported as failed is looked for before the error is raised: a request that was sent twice, because its
    first answer was lost, fails on its own success, and pyiceberg would then delete the files of the table.
    """

    def __init__(self, catalog: Catalog, replacement: Replacement) -> None:
        self._catalog = catalog
        self._replacement = replacement

    def load_table(self, identifier: Any) -> Table:
        """Return the table as it is now, after a check that the placed files still belong to it and that the delivery is current."""
        from pyiceberg.exceptions import ValidationException

        table, wanted = self._catalog.load_table(identifier), self._replacement
        if table.metadata.table_uuid != wanted.table_uuid:
            what = f"Table {wanted.table} was replaced by another one of its name"
            raise CommitConflictError(what)
        wanted.reads += 1
        if wanted.whole and wanted.reads > 1:
            # pyiceberg would try again with the columns and the tag of the table as it was.
            raise ValidationException("the table changed")
        # Another commit may have exchanged columns: files with the old ones would be read as NULL.
        check_fields(wanted.table, wanted.plan(table).fields, wanted.fields)
        wanted.verify()
        return table

    def commit_table(
        self, table: Table, requirements: tuple[Any, ...], updates: tuple[Any, ...]
    ) -> CommitTableResponse:
        """Commit, or find that a commit that is reported as failed was made."""
        from pyiceberg.exceptions import CommitFailedException
        from pyiceberg.table import CommitTableResponse

        self._replacement.is_sent = True
        try:
            return self._catalog.commit_table(table, requirements, updates)
        except CommitFailedException as error:
            now = self._catalog.load_table(table.name())
            if not is_committed(now, self._replacement):
                raise
            _log_failure_of_success(self._replacement, error)
            return CommitTableResponse.model_validate(
                {"metadata": now.metadata, "metadata-location": now.metadata_location}
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)


def overwrite(table: Table, replacement: Replacement) -> Table:
    """Commit one snapshot in which the replaced periods consist of the placed files.

    Raises:
        TableError: A column must be exchanged in which other exports have values.
    """
    from pyiceberg.table.update.snapshot import ManageSnapshots

    from billing_lake.tables.iceberg_transactions import LakeTransaction

    before = table.current_snapshot()
    replaced = (
        []
        if replacement.keeps
        else [task.file for task in table.scan(row_filter=replacement.replaced()).plan_files()]
    )
    with LakeTransaction(table) as transaction:
        change_columns(transaction, _column_changes(table, replacement))
        added = _data_files(table, transaction, replacement)
        with transaction.update_snapshot(
            snapshot_properties=replacement.snapshot_properties()
        ).overwrite() as snapshot:
            without_dead_manifests(snapshot)
            # Deletes nothing by itself: it is the filter by which pyiceberg finds out whether another commit conflicts.
            snapshot.delete_by_predicate(replacement.replaced())
            for file in replaced:
                snapshot.delete_data_file(file)
            for file in added:
                snapshot.append_data_file(file)
        transaction.set_properties(replacement.table_properties())
        if outdated := replacement.outdated_properties(table):
            transaction.remove_properties(*outdated)
        if (
            replacement.tag is not None
            and before is not None
            and replacement.tag not in table.metadata.refs
        ):
            # Behind the snapshot: of several references that a commit requires unchanged pyiceberg keeps the first.
            ManageSnapshots(transaction).create_tag(before.snapshot_id, replacement.tag).commit()
    return table


def _column_changes(table: Table, replacement: Replacement) -> SchemaPlan:
    """Return how the replacement changes the columns, after a check that rows of other exports lose no values by it."""
    from pyiceberg.expressions import Not

    planned = replacement.plan(table)
    if planned.diff.incompatible:
        tasks = table.scan(row_filter=Not(equal_to(EXPORT, replacement.export))).plan_files()
        refuse_others(replacement.table, {str(task.file.partition[0]) for task in tasks}, planned)
    return planned


def _data_files(table: Table, transaction: Transaction, replacement: Replacement) -> list[DataFile]:
    """Return the placed files as Iceberg describes them, after a check that they hold rows of their periods."""
    from pyiceberg.io.pyarrow import parquet_file_to_data_file

    metadata = transaction.table_metadata
    logging.getLogger("pyiceberg.io.pyarrow").addFilter(_is_news)
    added = [parquet_file_to_data_file(table.io, metadata, uri) for uri in replacement.placed]
    for one, (period, _) in zip(added, replacement.files, strict=True):
        if (one.partition[0], one.partition[1]) != (replacement.export, period):
            what = f"An encoded file holds {one.partition}, not {replacement.export}, {period}"
            raise LoadError(what, file=one.file_path)
    return added


def _is_news(record: logging.LogRecord) -> bool:
    """Say whether pyiceberg tells something else than that a column has no least and largest value, which is on purpose."""
    return "statistics missing" not in str(record.msg)


def _log_failure_of_success(replacement: Replacement, error: Exception) -> None:
    log.warning(
        "the commit to %s was reported as failed and is there: %r", replacement.table, error
    )
