"""Crawled tables of a local lake: deliveries as tables over their raw files, which a load registers and drops."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from billing_lake.domain.crawls import Crawl
from billing_lake.domain.errors import ConfigurationError
from billing_lake.tables.base import Crawler, check_name
from billing_lake.tables.local_db import LocalDatabase

_LOGGER = logging.getLogger(__name__)


class CrawledTables:
    """The crawled tables of a local lake.

    Args:
        database: SQLite file of the local catalog.
    """

    def __init__(self, database: Path) -> None:
        self._database = LocalDatabase(database)

    def register(
        self,
        crawl: Crawl,
        crawler: Crawler = "built_in",
        log: Callable[[str], None] = _LOGGER.info,
    ) -> None:
        """See `CrawledCatalog.register`; a local lake has the built-in crawler only."""
        require_crawler(crawler)
        delivery = crawl.delivery
        log(f"{crawl.table}: {len(crawl.source.columns)} columns")
        row = (
            check_name(crawl.table, "a crawled table"),
            check_name(delivery.export, "an export"),
            delivery.period,
            json.dumps(crawl.to_json()),
            datetime.now(timezone.utc).isoformat(),
        )
        with self._database.changing() as db:
            db.execute(
                "DELETE FROM crawled WHERE export = ? AND period = ?",
                (delivery.export, delivery.period),
            )
            db.execute("INSERT OR REPLACE INTO crawled VALUES (?, ?, ?, ?, ?)", row)

    def drop(self, name: str) -> None:
        """Drop a crawled table; the raw files stay. Nothing happens where there is none."""
        with self._database.changing() as db:
            db.execute("DELETE FROM crawled WHERE name = ?", (name,))

    def names(self) -> tuple[str, ...]:
        """Return the names of all crawled tables, in order."""
        with self._database.reading() as db:
            return tuple(
                row["name"] for row in db.execute("SELECT name FROM crawled ORDER BY name")
            )

    def older_than(self, export: str, age: timedelta) -> tuple[str, ...]:
        """See `CrawledCatalog.older_than`."""
        young = (datetime.now(timezone.utc) - age).isoformat()
        query = "SELECT name FROM crawled WHERE export = ? AND registered_at <= ? ORDER BY name"
        with self._database.reading() as db:
            return tuple(row["name"] for row in db.execute(query, (export, young)))


def require_crawler(crawler: Crawler) -> None:
    """Check that a lake on this machine has the crawler.

    Raises:
        ConfigurationError: It has not.
    """
    if crawler != "built_in":
        what = f"`crawler` is {crawler!r}, which this deployment does not have"
        remedy = "Set `crawler: built_in` in the export's defs.yaml, or use the deployment `aws`"
        raise ConfigurationError(what, remedy=remedy)
