"""What a crawl by Glue leaves in the account, and how it goes: when the crawl ends, or with a later one if that never came.

A killed process removes nothing. Its crawler costs nothing and does nothing, but an account has room for a thousand.
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

DESCRIPTION = "Made by Billing Lake for one delivery; it removes itself"
"""Description of every crawler that a crawl makes."""

FORGOTTEN = timedelta(days=1)
"""Age of a crawler whose process must be gone: a crawl is given half an hour."""

_NAME = re.compile(r"billing-lake-.*-[0-9a-f]{12}")


def new_crawler_name(subject: str) -> str:
    """Return a name that no other crawler has; ``subject`` is what it crawls."""
    return f"billing-lake-{subject[:200]}-{uuid.uuid4().hex[:12]}"


@dataclass(frozen=True)
class CrawlerTraces:
    """A crawler, the classifier of its name, and the tables that it made.

    Attributes:
        api: The catalog.
        database: Where its tables are.
        name: Name of the crawler, as `new_crawler_name` makes them.
        patience: Seconds to wait for a crawler at work to stop.
        pause: Seconds between two attempts.
    """

    api: GlueApi
    database: str
    name: str
    patience: float = 120.0
    pause: float = 2.0

    @property
    def prefix(self) -> str:
        """What the names of its tables begin with; it follows from the crawler's name, so it is never empty."""
        return f"crawl_{self.name[-12:]}_"

    def tables(self) -> list[dict[str, Any]]:
        """Return the tables that the crawler made."""
        found = self.api.pages(
            "get_tables", f"database {self.database}", "TableList", DatabaseName=self.database
        )
        return [table for table in found if table["Name"].startswith(self.prefix)]

    def remove(self) -> None:
        """Remove all of it; what cannot be removed is said, because the crawl's own outcome matters more."""
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
            name = table["Name"]
            self.api.call("delete_table", f"table {name}", DatabaseName=self.database, Name=name)

    def _call(self, verb: str) -> None:
        self.api.call(verb, f"crawler {self.name}", Name=self.name)

    def _try(self, act: Callable[[], object], what: str) -> None:
        try:
            act()
        except (NotThere, Busy):
            return
        except BillingLakeError as error:
            log.warning("%s stays behind: %s", what, error)


def forgotten(api: GlueApi) -> Iterator[CrawlerTraces]:
    """Yield what crawls left whose processes are gone; nothing where we may not look."""
    now = datetime.now(timezone.utc)
    try:
        for crawler in api.pages("get_crawlers", "the account's crawlers", "Crawlers"):
            ours = _NAME.fullmatch(crawler["Name"]) and crawler.get("Description") == DESCRIPTION
            if ours and now - crawler["CreationTime"] > FORGOTTEN:
                yield CrawlerTraces(api, crawler["DatabaseName"], crawler["Name"])
    except BillingLakeError as error:
        log.info("crawlers that killed runs left are not looked for: %s", error)
