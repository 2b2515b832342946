"""Crawled tables in the Glue Data Catalog: deliveries as tables over their raw files, in a database of their own.

The built-in crawler makes the table from what the lake knows of the delivery: a second, no cost. Glue's own crawler reads the
files as well (`glue_crawler`); its types are guesses, so the dictionary's types replace them. Either way the table has the
delivery's name, which no other delivery has, and its parameters say of which export and billing period it is.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

from billing_lake.domain.crawls import Crawl
from billing_lake.domain.errors import (
    BillingLakeError,
    ConfigurationError,
    CrawlerError,
    TableError,
)
from billing_lake.files.s3 import S3Files
from billing_lake.tables.base import (
    EXPORT_PROPERTY,
    PERIOD_PROPERTY,
    VERSION_PROPERTY,
    Crawler,
    check_name,
)
from billing_lake.tables.commit_retries import retry_while_overtaken
from billing_lake.tables.data_files import naming_write_errors
from billing_lake.tables.glue_api import AlreadyThere, Changed, GlueApi, NotThere
from billing_lake.tables.glue_crawler import ROLE_SETTING, CrawlerWaits, GlueCrawler
from billing_lake.tables.glue_raw import (
    RawPart,
    folders_of,
    other_files,
    raw_parameters,
    raw_parts,
    raw_storage,
)

_LOGGER = logging.getLogger(__name__)

_LAKE = "billing-lake.lake"
_FOLDER = "billing-lake.folder"
_PARTS = "billing-lake.parts"
_PATIENCE_SECONDS = 120.0


class GlueCrawledTables:
    """The crawled tables of a lake on AWS.

    Args:
        files: The lake's files in S3, with the clients of AWS.
        root: URI of the folder for lists of files and large crawls, `s3://bucket/…/crawled`.
        role: IAM role of Glue's crawlers, where they are used.
        database: Glue database of the tables.
        waits: How long to wait for Glue's crawlers.
    """

    def __init__(
        self,
        files: S3Files,
        root: str,
        *,
        role: str | None = None,
        database: str,
        waits: CrawlerWaits | None = None,
    ) -> None:
        self._files = files
        self._root = root.rstrip("/")
        self._role = role
        self._database = check_name(database, "a database of the Glue Data Catalog")
        self._waits = waits or CrawlerWaits()
        self._api = GlueApi(files.clients)

    def register(
        self,
        crawl: Crawl,
        crawler: Crawler = "built_in",
        log: Callable[[str], None] = _LOGGER.info,
    ) -> None:
        """See `CrawledCatalog.register`.

        Raises:
            ConfigurationError: There is no such crawler, or its role is not set or cannot be used.
            CrawlerError: Glue's crawler failed, or made another number of tables than one.
            StorageWriteError: The catalog or the warehouse refuses a write.
        """
        check_name(crawl.table, "a crawled table")
        check_name(crawl.delivery.export, "an export")
        if crawler not in ("built_in", "glue"):
            what = f"This deployment has no crawler {crawler!r}"
            remedy = "Set `crawler` in the export's defs.yaml to `built_in` or `glue`"
            raise ConfigurationError(what, remedy=remedy)
        parts = raw_parts(crawl, self._files)
        self._api.ensure_database(self._database)
        with self._crawled(crawl, crawler, log) as found:
            inputs = self._inputs(crawl, parts, found)
            before, *_ = [self._put(given) for given in inputs]
        log(
            f"{crawl.table}: {len(crawl.source.columns)} columns, {len(crawl.source.files)} files, in the Glue database "
            f"{self._database}"
        )
        if len(parts) > 1:
            log(
                f"{crawl.table}: the headers of the files differ in order, so each of {len(parts)} groups has a table: "
                f"{', '.join(given['Name'] for given in inputs)}"
            )
        self._remove_others(crawl, before, len(parts))
        self._read_back(crawl, inputs[0], log)

    def drop(self, name: str) -> None:
        """Drop a crawled table; the raw files stay. Nothing happens where there is none."""
        found = self._api.table(self._database, name)
        if found is None or not self._is_ours(found):
            return
        self._api.delete_table(self._database, name)
        self._drop_parts(found, 1)
        self._remove_folder(found)

    def names(self) -> tuple[str, ...]:
        """Return the names of all crawled tables, in order."""
        return tuple(sorted(found["Name"] for found in self._all()))

    def older_than(self, export: str, age: timedelta) -> tuple[str, ...]:
        """See `CrawledCatalog.older_than`."""
        young = datetime.now(timezone.utc) - age
        return tuple(
            sorted(
                found["Name"]
                for found in self._all()
                if found["Parameters"][EXPORT_PROPERTY] == export
                and found.get("UpdateTime", found["CreateTime"]) <= young
            )
        )

    @contextmanager
    def _crawled(
        self, crawl: Crawl, crawler: Crawler, log: Callable[[str], None]
    ) -> Iterator[Mapping[str, Any] | None]:
        """Yield the table that Glue's crawler made; None for the built-in crawler."""
        if crawler == "built_in":
            yield None
            return
        if not self._role:
            what = f"{ROLE_SETTING} is not set, and Glue's crawler needs a role"
            remedy = "Set it to a role that glue.amazonaws.com may assume, or set `crawler: built_in` in the export's defs.yaml"
            raise ConfigurationError(what, remedy=remedy)
        folders = folders_of(crawl.source.files)
        if len(folders) != 1:
            what = f"The files of the delivery lie in {len(folders)} folders, and a Glue crawler makes a table of each"
            raise CrawlerError(what)
        glue_crawler = GlueCrawler(
            self._api, self._database, self._role, crawl.table, log, self._waits
        )
        others = other_files(self._files, folders[0], crawl.source.files)
        csv = crawl.source.container == "csv"
        with glue_crawler.table(folders[0], others, csv=csv) as found:
            inferred = len(found["StorageDescriptor"]["Columns"])
            log(
                f"{crawl.table}: Glue's crawler found {inferred} columns; they get the dictionary's names and types"
            )
            yield found

    def _inputs(
        self, crawl: Crawl, parts: list[RawPart], found: Mapping[str, Any] | None
    ) -> list[dict[str, Any]]:
        delivery = crawl.delivery
        # Each registration has a folder of its own, so that the next one can remove it.
        folder = f"{self._root}/{crawl.table}/{uuid.uuid4().hex[:12]}"
        own = {
            _LAKE: self._root,
            EXPORT_PROPERTY: delivery.export,
            PERIOD_PROPERTY: delivery.period,
            VERSION_PROPERTY: delivery.version,
            _FOLDER: folder,
        }
        inputs = []
        with naming_write_errors(folder):
            for number, part in enumerate(parts, start=1):
                storage = raw_storage(crawl, part, self._files, f"{folder}/files-{number}")
                parameters = {
                    **(dict(found.get("Parameters", {})) if found else {}),
                    **raw_parameters(crawl, part),
                    **own,
                }
                if number == 1:
                    parameters[_PARTS] = str(len(parts))
                inputs.append(
                    {
                        "Name": crawl.table if number == 1 else _part_name(crawl.table, number),
                        "Description": f"Raw report files of {delivery.export}, {delivery.period}, as delivered",
                        "TableType": "EXTERNAL_TABLE",
                        "PartitionKeys": [],
                        "StorageDescriptor": storage,
                        "Parameters": parameters,
                    }
                )
        return inputs

    def _put(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """Create a table or replace the one of its name; return what was there."""

        def put() -> dict[str, Any] | None:
            found = self._api.table(self._database, given["Name"])
            if found is None:
                self._api.create_table(self._database, given)
            else:
                self._require_ours(found)
                self._api.update_table(self._database, found, given)
            return found

        conflict = f"Other runs kept changing table {self._database}.{given['Name']}"
        return retry_while_overtaken(conflict, _PATIENCE_SECONDS, AlreadyThere, NotThere, Changed)(
            put
        )

    def _remove_others(self, crawl: Crawl, before: Mapping[str, Any] | None, parts: int) -> None:
        """Remove the tables of earlier crawls of the same export and period, and the files of the table ``before``."""
        if before is not None:
            self._drop_parts(before, parts)
            self._remove_folder(before)
        for found in list(self._all()):
            same = (crawl.delivery.export, crawl.delivery.period)
            parameters = found["Parameters"]
            if found["Name"] != crawl.table and same == (
                parameters[EXPORT_PROPERTY],
                parameters[PERIOD_PROPERTY],
            ):
                self.drop(found["Name"])

    def _read_back(
        self, crawl: Crawl, given: Mapping[str, Any], log: Callable[[str], None]
    ) -> None:
        """Log a warning where a reader does not find the table as it was registered; the load does not depend on it."""
        reason = ""
        try:
            found = self._api.table(self._database, crawl.table)
        except BillingLakeError as error:
            reason = error.what
        else:
            if found is None:
                reason = "the catalog does not show it"
            elif _place_and_columns(found) != _place_and_columns(given):
                reason = "the catalog shows other columns, or another place"
        if reason:
            log(
                f"WARNING: {crawl.table} cannot be read through the catalog ({reason}). The load goes on: the report files "
                "are read directly"
            )

    def _drop_parts(self, found: Mapping[str, Any], keep: int) -> None:
        for number in range(max(keep, 1) + 1, int(found["Parameters"].get(_PARTS, 1)) + 1):
            self._api.delete_table(self._database, _part_name(found["Name"], number))

    def _remove_folder(self, found: Mapping[str, Any]) -> None:
        folder = found["Parameters"].get(_FOLDER, "")
        if folder.startswith(f"{self._root}/"):
            self._files.remove_folder(folder)

    def _all(self) -> Iterator[dict[str, Any]]:
        return filter(self._is_ours, self._api.tables(self._database))

    def _is_ours(self, found: Mapping[str, Any]) -> bool:
        """Say whether this lake registered a table; it is False for a second part of one, and for another lake's."""
        parameters = found.get("Parameters", {})
        return parameters.get(_LAKE) == self._root and _PARTS in parameters

    def _require_ours(self, found: Mapping[str, Any]) -> None:
        if found.get("Parameters", {}).get(_LAKE) != self._root:
            raise TableError(
                f"The Glue table {self._database}.{found['Name']} is not this lake's",
                remedy="Remove it, or give one of the lakes another catalog: two share the database of crawled tables",
            )


def _part_name(name: str, number: int) -> str:
    return f"{name[:240]}_part_{number}"


def _place_and_columns(table: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    storage = table.get("StorageDescriptor", {})
    columns = [(one["Name"], one["Type"]) for one in storage.get("Columns", ())]
    return str(storage.get("Location", "")).rstrip("/"), columns
