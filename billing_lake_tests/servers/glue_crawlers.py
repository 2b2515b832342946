"""Crawlers that look: a started crawler lists its target, reads the files' heads and makes tables.

What it makes has the marks of a real crawler's table that code must cope with: names from folders, types from a
look at some values, a name of its own choice where another table has the plain one.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import threading
import time
from collections import defaultdict
from contextlib import suppress
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.glue_classifiers import Classifiers

if TYPE_CHECKING:
    from moto.glue.models import FakeCrawl, FakeCrawler

    from billing_lake_tests.servers.account import Account

_SAMPLE = 100


class Crawlers:
    """The crawls, and what tests may wish for them."""

    def __init__(self, aws: Account) -> None:
        self._aws = aws
        self._failures: list[str] = []
        self._errors: dict[str, str] = {}  # by the crawl's id
        self._threads: list[threading.Thread] = []
        self._held = threading.Event()
        self._held.set()
        self._closed = False
        self.crawls = 0
        self.classifiers = Classifiers()

    def fail_next(self, message: str = "Internal Service Exception") -> None:
        """Let the next crawl fail."""
        self._failures.append(message)

    def hold(self) -> None:
        """Let crawls be RUNNING and do nothing until they are released or stopped."""
        self._held.clear()

    def release(self) -> None:
        """Let held crawls, and later ones, look."""
        self._held.set()

    def forget_wishes(self) -> None:
        """Let held crawls, and later ones, look."""
        self._failures.clear()
        self.release()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Take over what moto does with crawlers."""
        from moto.glue.exceptions import CrawlerRunningException
        from moto.glue.models import FakeCrawl, FakeCrawler, GlueBackend

        self.classifiers.install(patch)

        start, describe, delete = (
            FakeCrawler.start_crawler,
            FakeCrawler.as_dict,
            GlueBackend.delete_crawler,
        )

        def start_crawler(crawler: FakeCrawler) -> None:
            if crawler.status != "READY":
                raise CrawlerRunningException(
                    f"Crawler with name {crawler.name} has already started"
                )
            start(crawler)
            self._begin(crawler, crawler.crawls[-1])

        def delete_crawler(backend: GlueBackend, name: str) -> None:
            if backend.get_crawler(name).status != "READY":
                raise CrawlerRunningException(f"Crawler {name} is running")
            delete(backend, name)

        patch.setattr(FakeCrawl, "status", property(_status, _set_status))
        patch.setattr(FakeCrawler, "start_crawler", start_crawler)
        patch.setattr(FakeCrawler, "as_dict", lambda crawler: self._describe(crawler, describe))
        patch.setattr(GlueBackend, "delete_crawler", delete_crawler)

    def close(self) -> None:
        """End the crawls that still run."""
        self._closed = True
        self._held.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def _describe(self, crawler: FakeCrawler, describe: Any) -> dict[str, Any]:
        told: dict[str, Any] = describe(crawler)
        told.pop("LastCrawl", None)
        over = [crawl for crawl in crawler.crawls if crawl._status not in {"RUNNING", "STOPPING"}]
        if crawler.status == "RUNNING":
            began = crawler.crawls[-1].start_time.timestamp()
            told["CrawlElapsedTime"] = int((time.time() - began) * 1000)
        if over:
            last = over[-1]
            words = {"COMPLETED": "SUCCEEDED", "STOPPED": "CANCELLED", "FAILED": "FAILED"}
            told["LastCrawl"] = {
                "Status": words[str(last._status)],
                "LogGroup": last.log_group,
                "LogStream": last.log_stream,
                "MessagePrefix": last.message_prefix,
                "StartTime": last.start_time,
            }
            if error := self._errors.get(last.crawl_id):
                told["LastCrawl"]["ErrorMessage"] = error
        return told

    def _begin(self, crawler: FakeCrawler, crawl: FakeCrawl) -> None:
        self.crawls += 1
        thread = threading.Thread(
            target=self._live, args=(crawler, crawl), name=f"crawl-{crawler.name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _live(self, crawler: FakeCrawler, crawl: FakeCrawl) -> None:
        from moto.core.utils import utcnow

        end = "COMPLETED"
        while not self._held.wait(0.02) and crawl._status == "RUNNING":
            pass
        try:
            if crawl._status == "STOPPING" or self._closed:
                end = "STOPPED"
            else:
                self._crawl(crawler)
        except Exception as error:  # noqa: BLE001 # a thread's exception would leave the crawl RUNNING for ever
            end, self._errors[crawl.crawl_id] = "FAILED", str(error)
        crawl.status = "STOPPING"
        time.sleep(0.05)  # long enough for somebody to see it
        crawl.end_time = utcnow()
        crawl.status = end

    def _crawl(self, crawler: FakeCrawler) -> None:
        if self._failures:
            raise RuntimeError(self._failures.pop(0))
        for target in crawler.targets.get("S3Targets", []):
            self._look(crawler, target)

    def _look(self, crawler: FakeCrawler, target: dict[str, Any]) -> None:
        where = urlsplit(target["Path"])
        prefix = where.path.strip("/") + "/"
        folders: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        pages = self._aws.client("s3").get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=where.netloc, Prefix=prefix):
            for item in page.get("Contents", []):
                name = item["Key"].removeprefix(prefix)
                if any(fnmatch(name, pattern) for pattern in target.get("Exclusions", [])):
                    continue
                folders[item["Key"].rpartition("/")[0]].append(item)
        for folder, items in folders.items():
            groups = [items]
            if len({_classification(item["Key"]) for item in items}) > 1:
                groups = [[item] for item in items]  # files that do not go together: a table each
            for group in groups:
                self._make_table(crawler, where.netloc, folder, group, alone=len(groups) > 1)

    def _make_table(
        self,
        crawler: FakeCrawler,
        bucket: str,
        folder: str,
        items: list[dict[str, Any]],
        *,
        alone: bool,
    ) -> None:
        source = items[0]["Key"] if alone else folder
        location = f"s3://{bucket}/{source}" + ("" if alone else "/")
        plain = (crawler.table_prefix or "") + source.rpartition("/")[2]
        name = re.sub(r"[^a-z0-9_]", "_", plain.lower())
        database = crawler.backend.get_database(crawler.database_name)
        taken = database.tables.get(name)
        if taken is not None and taken.as_dict()["StorageDescriptor"]["Location"] != location:
            name += "_" + hashlib.md5(location.encode(), usedforsecurity=False).hexdigest()
        table = {
            "Name": name,
            "Owner": "owner",
            "Retention": 0,
            "TableType": "EXTERNAL_TABLE",
            "PartitionKeys": [],
            **self._storage(crawler, bucket, location, items),
        }
        with suppress(KeyError):
            del database.tables[name]
        crawler.backend.create_table(crawler.database_name, name, table)

    def _storage(
        self, crawler: FakeCrawler, bucket: str, location: str, items: list[dict[str, Any]]
    ) -> dict[str, Any]:
        kind = _classification(items[0]["Key"])
        facts = {
            "UPDATED_BY_CRAWLER": crawler.name,
            "CrawlerSchemaDeserializerVersion": "1.0",
            "CrawlerSchemaSerializerVersion": "1.0",
            "classification": kind,
            "objectCount": str(len(items)),
            "sizeKey": str(sum(item["Size"] for item in items)),
            "typeOfData": "file",
        }
        columns: list[dict[str, str]] = []
        if kind == "csv":
            columns = self._columns(bucket, items[0]["Key"])
            facts |= {
                "areColumnsQuoted": "false",
                "columnsOrdered": "true",
                "delimiter": ",",
                "skip.header.line.count": "1",
                "compressionType": "gzip" if items[0]["Key"].endswith(".gz") else "none",
            }
        storage = {
            "Columns": columns,
            "Location": location,
            "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
            "Compressed": facts.get("compressionType") == "gzip",
            "NumberOfBuckets": -1,
            "SerdeInfo": {
                "SerializationLibrary": "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
                "Parameters": {"field.delim": ","},
            },
            "BucketColumns": [],
            "SortColumns": [],
            "Parameters": facts,
            "StoredAsSubDirectories": False,
        }
        return {"Parameters": facts, "StorageDescriptor": storage}

    def _columns(self, bucket: str, key: str) -> list[dict[str, str]]:
        data = self._aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        text = (gzip.decompress(data) if key.endswith(".gz") else data).decode()
        rows = csv.reader(io.StringIO(text, newline=""))
        header = next(rows, [])
        sample = [row for row, _ in zip(rows, range(_SAMPLE), strict=False)]
        return [
            {
                "Name": name.lower(),
                "Type": _type([row[place] for row in sample if place < len(row)]),
            }
            for place, name in enumerate(header)
        ]


def _classification(key: str) -> str:
    return key.removesuffix(".gz").rpartition(".")[2].lower()


def _type(values: list[str]) -> str:
    filled = [value for value in values if value]
    if filled and all(re.fullmatch(r"-?\d{1,18}", value) for value in filled):
        return "bigint"
    if filled and all(re.fullmatch(r"-?\d*\.?\d+([eE][+-]?\d+)?", value) for value in filled):
        return "double"
    return "string"


def _status(crawl: FakeCrawl) -> str | None:
    return crawl._status


def _set_status(crawl: FakeCrawl, value: str) -> None:
    crawl._status = value
