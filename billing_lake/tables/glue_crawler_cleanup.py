"""Removal of what a crawl by Glue leaves in the account: when the crawl ends, or with a later one after a kill.

A crawler that is left costs nothing and does nothing, but an account has room for a thousand.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from billing_lake.domain.errors import BillingLakeError
from billing_lake.tables.glue_api import Busy, GlueApi, NotThere

log = logging.getLogger(__name__)

CRAWLER_DESCRIPTION = "Made by Billing Lake for one delivery; it removes itself"
"""Description of every crawler that a crawl makes."""

ABANDONED_AGE = timedelta(days=1)
"""Age at which a crawler's process must have ended: a crawl may take half an hour."""

_NAME = re.compile(r"billing-lake-.*-[0-9a-f]{12}")


def new_crawler_name(subject: str) -> str:
    """Return a unique name for a crawler of the table ``subject``: `billing-lake-<subject>-0123456789ab`."""
    return f"billing-lake-{subject[:200]}-{uuid.uuid4().hex[:12]}"


@dataclass(frozen=True)
class CrawlerCleanup:
    """A crawler, the classifier of its name, and the tables that it made.

    Attributes:
        api: The catalog.
        database: Glue database of its tables.
        name: Name of the crawler, from `new_crawler_name`.
        patience: Seconds to wait for a running crawler to stop.
        pause: Seconds between two attempts.
    """

    api: GlueApi
    database: str
    name: str
    patience: float = 120.0
    pause: float = 2.0

    @property
    def prefix(self) -> str:
        """Start of the names of its tables, `crawl_0123456789ab_`; it follows from the crawler's name, so it is never empty."""
        return f"crawl_{self.name[-12:]}_"

    def tables(self) -> list[dict[str, Any]]:
        """Return the tables that the crawler made."""
        found = self.api.tables(self.database)
        return [table for table in found if table["Name"].startswith(self.prefix)]

    def remove(self) -> None:
        """Remove crawler, classifier and tables; what cannot be removed is logged, because the crawl's own result matters more."""
        self._try(self._remove_crawler, f"crawler {self.name}")
        self._try(lambda: self._call("delete_classifier"), f"classifier {self.name}")
        self._try(self._remove_tables, f"tables {self.prefix}* of {self.database}")

    def _remove_crawler(self) -> None:
        deadline = time.monotonic() + self.patience
        while True:
            try:
                self._call("delete_crawler")
            except Busy:
                if time.monotonic() > deadline:
                    log.warning("crawler %s does not stop; remove it in the console", self.name)
                    return
                self._try(lambda: self._call("stop_crawler"), self.name)
                time.sleep(self.pause)
            else:
                return

    def _remove_tables(self) -> None:
        for table in self.tables():
            self.api.delete_table(self.database, table["Name"])

    def _call(self, verb: str) -> None:
        self.api.call(verb, f"crawler {self.name}", Name=self.name)

    def _try(self, act: Callable[[], object], what: str) -> None:
        try:
            act()
        except (NotThere, Busy):
            return
        except BillingLakeError as error:
            log.warning("%s is left: %s", what, error)


def abandoned_crawlers(api: GlueApi) -> Iterator[CrawlerCleanup]:
    """Yield what killed crawls left; nothing where the right to list crawlers is missing."""
    now = datetime.now(timezone.utc)
    try:
        for crawler in api.pages("get_crawlers", "the account's crawlers", "Crawlers"):
            ours = (
                _NAME.fullmatch(crawler["Name"])
                and crawler.get("Description") == CRAWLER_DESCRIPTION
            )
            if ours and now - crawler["CreationTime"] > ABANDONED_AGE:
                yield CrawlerCleanup(api, crawler["DatabaseName"], crawler["Name"])
    except BillingLakeError as error:
        log.info("crawlers that killed runs left are not looked for: %s", error)
