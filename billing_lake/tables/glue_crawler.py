"""The real Glue crawler, created for one delivery and removed afterwards.

A crawler that is kept and shared is a race: it reads whatever lies in its target when it runs, and its newest table may be
another run's. So each crawl has a crawler of its own, with a unique name, classifier and prefix of its tables. Its target is
the delivery's folder without the other files in it. Crawler, classifier and tables are always removed at the end; what a
killed process left is removed by a later crawl.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from billing_lake.aws.errors import error_code
from billing_lake.aws.retry import retrying
from billing_lake.domain.errors import (
    ConfigurationError,
    CrawlerError,
    StorageWriteError,
    in_words,
    shown,
)
from billing_lake.tables.glue_api import AlreadyThere, Busy, GlueApi, NotThere
from billing_lake.tables.glue_crawler_cleanup import (
    CRAWLER_DESCRIPTION,
    CrawlerCleanup,
    abandoned_crawlers,
    new_crawler_name,
)

log = logging.getLogger(__name__)

ROLE_SETTING = "BILLING_LAKE_GLUE_CRAWLER_ROLE"
"""Setting with the IAM role of the crawlers."""

_SPECIAL = re.compile(r"([*?\[\]{}\\])")
_SHOWN_TABLES = 10


@dataclass(frozen=True, kw_only=True)
class CrawlerWaits:
    """States how long to wait for a crawler, in seconds.

    Attributes:
        poll: Between two requests for the crawler's state.
        limit: For the crawl as a whole; it is stopped then.
        role: Until a new IAM role is known everywhere.
        stop: Until a stopped crawler can be removed.
        log: Between two log lines about progress.
    """

    poll: float = 5.0
    limit: float = 1800.0
    role: float = 60.0
    stop: float = 120.0
    log: float = 30.0


class GlueCrawler:
    """One crawl by Glue.

    Args:
        api: The catalog.
        database: Glue database in which the crawler makes its table.
        role: IAM role of the crawler.
        name: Name of the crawled table, which becomes a part of the crawler's name.
        log: Called with lines about progress.
        waits: How long to wait.
    """

    def __init__(
        self,
        api: GlueApi,
        database: str,
        role: str,
        name: str,
        log: Callable[[str], None],
        waits: CrawlerWaits,
    ) -> None:
        self.name = new_crawler_name(name)
        self._api = api
        self._database = database
        self._cleanup = CrawlerCleanup(
            api, database, self.name, patience=waits.stop, pause=min(waits.poll, 2.0)
        )
        self._role = role
        self._log = log
        self._waits = waits

    @contextmanager
    def table(self, folder: str, excluded: Sequence[str], *, csv: bool) -> Iterator[dict[str, Any]]:
        """Crawl a folder and yield the table that the crawler made; it is removed when the block ends.

        Args:
            folder: URI of the folder.
            excluded: Names of the files in it that are not crawled, relative to it.
            csv: Whether the files are CSV with a header.

        Raises:
            CrawlerError: It failed, was stopped or too slow, or made no table or several.
            ConfigurationError: Its role cannot be used.
        """
        for left in abandoned_crawlers(self._api):
            self._log(f"Glue crawler {left.name}: its run has ended, it is removed")
            left.remove()
        try:
            self._crawl(folder, excluded, csv=csv)
            yield self._found(folder)
        finally:
            self._cleanup.remove()

    def _crawl(self, folder: str, excluded: Sequence[str], *, csv: bool) -> None:
        try:
            self._create(folder, excluded, csv=csv)
            self._start()
            self._wait()
        except NotThere as error:
            what = f"The Glue crawler {self.name}, or a part of it, was removed while it ran: {shown(error, 600)}"
            raise CrawlerError(what) from error

    def _create(self, folder: str, excluded: Sequence[str], *, csv: bool) -> None:
        if csv:
            self._call(
                "create_classifier",
                CsvClassifier={
                    "Name": self.name,
                    "Delimiter": ",",
                    "QuoteSymbol": '"',
                    "ContainsHeader": "PRESENT",
                    "DisableValueTrimming": True,
                    "AllowSingleColumn": False,
                    "Serde": "OpenCSVSerDe",
                },
            )
        target = {"Path": f"{folder}/", "Exclusions": _exclusions(excluded)}
        grouping: dict[str, Any] = {"TableGroupingPolicy": "CombineCompatibleSchemas"}
        if (level := folder.removeprefix("s3://").count("/") + 1) > 1:
            # The bucket is level 1: one table for the folder, not one for each file.
            grouping["TableLevelConfiguration"] = level
        given = {
            "Name": self.name,
            "Role": self._role,
            "DatabaseName": self._database,
            "Description": CRAWLER_DESCRIPTION,
            "Targets": {"S3Targets": [target]},
            "TablePrefix": self._cleanup.prefix,
            "Classifiers": [self.name] if csv else [],
            "SchemaChangePolicy": {"UpdateBehavior": "LOG", "DeleteBehavior": "LOG"},
            "RecrawlPolicy": {"RecrawlBehavior": "CRAWL_EVERYTHING"},
            "Configuration": json.dumps({"Version": 1.0, "Grouping": grouping}),
        }
        # A new role is not known everywhere yet.
        create = retrying(
            "create a crawler", log.info, seconds=self._waits.role, when=_is_unknown_role
        )
        try:
            create(self._call, "create_crawler", **given)
        except StorageWriteError as error:
            if _is_about_role(error):
                raise self._role_error(error) from error
            raise

    def _start(self) -> None:
        try:
            self._call("start_crawler", Name=self.name)
        except Busy:
            # No other process knows its name: this was an earlier call, whose answer got lost.
            log.info("crawler %s runs already", self.name)
        self._log(f"Glue crawler {self.name}: started")

    def _wait(self) -> None:
        started = logged = time.monotonic()
        state = ""
        while True:
            crawler = self._call("get_crawler", Name=self.name)["Crawler"]
            last = crawler.get("LastCrawl", {})
            now = time.monotonic()
            if crawler["State"] != state or now - logged >= self._waits.log:
                state, logged = crawler["State"], now
                self._log(f"Glue crawler {self.name}: {state}, {now - started:.0f} s")
            # READY without a crawl is a crawler whose start is not seen yet.
            if state == "READY" and last:
                self._require_success(last)
                return
            if now - started > self._waits.limit:
                what = f"Glue crawler {self.name} was not done after {self._waits.limit:.0f} s ({state})"
                raise CrawlerError(what)
            time.sleep(self._waits.poll)

    def _require_success(self, last: Mapping[str, Any]) -> None:
        if last.get("Status") == "SUCCEEDED":
            return
        reason = shown(last.get("ErrorMessage", "Glue gives no reason"), 600)
        what = f"Glue crawler {self.name} ended as {last.get('Status')}: {reason}"
        group, stream = last.get("LogGroup"), last.get("LogStream")
        where = f". Its log: {_log_link(self._api.region, group, stream)}" if group else ""
        raise CrawlerError(f"{what}{where}")

    def _found(self, folder: str) -> dict[str, Any]:
        tables = self._cleanup.tables()
        if len(tables) == 1:
            return tables[0]
        if not tables:
            raise CrawlerError(f"Glue crawler {self.name} made no table of {folder}")
        names = sorted(table["Name"].removeprefix(self._cleanup.prefix) for table in tables)
        text = in_words((shown(name, 60) for name in names), _SHOWN_TABLES)
        what = f"Glue crawler {self.name} made {len(tables)} tables of {folder}, not one: {text}"
        raise CrawlerError(what)

    def _call(self, verb: str, **given: Any) -> dict[str, Any]:
        try:
            return self._api.call(verb, f"crawler {self.name}", **given)
        except AlreadyThere:
            return {}  # the names are unique: this was an earlier call, whose answer got lost

    def _role_error(self, error: StorageWriteError) -> ConfigurationError:
        return ConfigurationError(
            f"The crawler cannot work as {shown(self._role)}: {error.what}",
            remedy=(
                f"Set {ROLE_SETTING} to a role that glue.amazonaws.com may assume and that may read the landing bucket, and "
                "allow iam:PassRole on it to the role that runs Billing Lake"
            ),
        )


def _is_about_role(error: StorageWriteError) -> bool:
    text = error.what.lower()
    return "passrole" in text or "assume" in text or " role" in text


def _is_unknown_role(error: BaseException) -> bool:
    refused = isinstance(error, StorageWriteError) and _is_about_role(error)
    return refused and error_code(error.__cause__ or error) == "InvalidInputException"


def _exclusions(excluded: Sequence[str]) -> list[str]:
    """Return the patterns that exclude folders as a whole, and files by their names."""
    folders = {name.partition("/")[0] for name in excluded if "/" in name}
    names = {name for name in excluded if "/" not in name}
    return [
        *(f"{_SPECIAL.sub(_escaped, folder)}/**" for folder in sorted(folders)),
        *(_SPECIAL.sub(_escaped, name) for name in sorted(names)),
    ]


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match[1]}"


def _log_link(region: str, group: str | None, stream: str | None) -> str:
    """Return the URL at which the console shows a log; its names are encoded twice, with a dollar sign."""

    def encoded(name: str | None) -> str:
        return quote(quote(name or "", safe=""), safe="").replace("%", "$")

    console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
    return f"{console}#logsV2:log-groups/log-group/{encoded(group)}/log-events/{encoded(stream)}"
