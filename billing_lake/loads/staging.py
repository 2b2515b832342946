"""Files that a crawl encoded in the pass that totalled a delivery, until the first load after it takes them over.

Which columns and ids a load wants is known before any row is read, so an engine that can do both at once writes while it totals. No table
refers to what it wrote: it lies in the lake's staging folder, and a value says for which delivery. The first load of the
billing period uses it or not, and either way it is gone then. What no load comes for is removed by the next crawl of the
period, by any crawl a day later, and by the job `maintenance`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from billing_lake.deployments.base import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.errors import StorageWriteError, TableError
from billing_lake.domain.schemas import Field, lake_columns, plan
from billing_lake.domain.sources import Encoded, Source
from billing_lake.engines.digests import require_unchanged
from billing_lake.files.base import FileInfo
from billing_lake.tables.base import LEFT_BEHIND, CleanUp
from billing_lake.tables.exports import Export, Table

log = logging.getLogger(__name__)

_ASSET = "staged"
"""What the value is kept under, beside those of the export's assets."""


def shared_fields(lake: Lake, export: Export, table: Table) -> tuple[Field, ...] | None:
    """Return the fields whose ids the files for ``table`` should carry: those of the first Iceberg table that exists.

    Files for a table that finds columns by name may carry the ids of the tables that take them over; a table that does not
    exist yet is made like its sister.
    """
    if table.name != export.table:
        return table.fields()
    others = (one for one in lake.tables(export) if one.output != table.output)
    return _shared((one, one.fields()) for one in (table, *others))


def fields_to_stage(lake: Lake, export: Export, source: Source) -> tuple[Field, ...] | None:
    """Return the fields that the first load of ``source`` will want; None where a table of the export cannot take it."""
    columns = lake_columns(source.columns)
    have = [(table, table.fields()) for table in lake.tables(export)]
    if any(plan(fields, columns).diff.incompatible for _, fields in have):
        return None
    return plan(_shared(have), columns).fields


@contextmanager
def staging_folder(lake: Lake) -> Iterator[str]:
    """Give a new folder below the staging folder, which goes if the block ends in an error."""
    folder = f"{lake.staging}/{uuid.uuid4().hex}"
    try:
        yield folder
    except BaseException:
        lake.files.remove_folder(folder)
        raise


def stage(lake: Lake, export: Export, period: str, encoded: Encoded) -> None:
    """Say that ``encoded`` waits for the load of ``period``."""
    lake.values.write(export.path(_ASSET), period, encoded)


@contextmanager
def staged_files(
    lake: Lake, export: Export, crawl: Crawl, fields: tuple[Field, ...]
) -> Iterator[Encoded | None]:
    """Give the files that wait for the load of ``crawl``, if those are files with ``fields``; afterwards nothing waits.

    Raises:
        DeliveryChangedError: A report file of this machine has other bytes now than those that were encoded.
    """
    delivery = crawl.delivery
    found = _waiting(lake, export, delivery.period)
    try:
        wanted = (delivery.identity, delivery.version, crawl.content, fields)
        if found and (found.identity, found.version, found.content, found.fields) == wanted:
            require_unchanged(crawl.pinned.files, lake.files)
            yield found if _is_there(lake, found) else None
        else:
            yield None
    finally:
        _remove(lake, export, delivery.period, found)


def remove_staged(lake: Lake, export: Export, period: str) -> None:
    """Remove what waits for a load of ``period``."""
    _remove(lake, export, period, _waiting(lake, export, period))


def remove_left(lake: Lake, folder: str, what: CleanUp = LEFT_BEHIND) -> list[str]:
    """Remove the folders below ``folder`` that no load at work has, since they are too old; return them."""
    files: dict[str, list[FileInfo]] = {}
    for file in lake.files.list(folder):
        name, slash, _ = file.uri.removeprefix(f"{folder}/").partition("/")
        if slash:
            files.setdefault(f"{folder}/{name}", []).append(file)
    young = datetime.now(timezone.utc) - what.older_than
    old = sorted(
        one for one, found in files.items() if all(file.modified <= young for file in found)
    )
    for one in old:
        what.listed(files[one])
        if not what.dry_run:
            lake.files.remove_folder(one)
    return old


def _shared(have: Iterable[tuple[Table, tuple[Field, ...] | None]]) -> tuple[Field, ...] | None:
    """Return what `shared_fields` does, given tables with their fields, the one that is loaded first."""
    own: tuple[Field, ...] | None = None
    for number, (table, fields) in enumerate(have):
        if fields is not None and not table.catalog.finds_by_name:
            return fields
        own = fields if number == 0 else own
    return own


def _waiting(lake: Lake, export: Export, period: str) -> Encoded | None:
    try:
        return lake.values.latest(export.path(_ASSET), period, Encoded)
    except TableError:
        return None  # a later version wrote it, or a disk lost a part of it: nothing to build on


def _is_there(lake: Lake, encoded: Encoded) -> bool:
    """Say whether all of the files are still there, and whole."""
    try:
        return all(lake.files.size(file.uri) == file.size for file in encoded.files)
    except FileNotFoundError:
        return False


def _remove(lake: Lake, export: Export, period: str, found: Encoded | None) -> None:
    if found is None:
        return
    try:
        for folder in {file.uri.rpartition("/")[0] for file in found.files}:
            if folder.startswith(f"{lake.staging}/"):
                lake.files.remove_folder(folder)
        lake.values.remove(export.path(_ASSET), period)
    except (OSError, StorageWriteError) as error:
        # The load is committed, or failed by something else; maintenance removes what stays.
        log.warning("could not remove what waited for a load of %s: %s", period, error)
