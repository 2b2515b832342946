"""Crawled tables in the Glue Data Catalog: the built-in crawler, and Glue's own."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from billing_lake.domain.crawls import Crawl, crawled_table_name
from billing_lake.domain.deliveries import Delivery, StoredObject
from billing_lake.domain.errors import (
    ConfigurationError,
    CrawlerError,
    StorageWriteError,
    TableError,
)
from billing_lake.domain.profiles import FileProfile, Profile
from billing_lake.domain.schemas import Column
from billing_lake.domain.sources import Source, SourceFile
from billing_lake.domain.types import DECIMAL, STRING
from billing_lake.formats.headers import column_names
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.tables.glue_api import GlueApi
from billing_lake.tables.glue_crawled import GlueCrawledTables
from billing_lake.tables.glue_crawler import CrawlerWaits, _exclusions
from billing_lake.tables.glue_crawler_cleanup import ABANDONED_AGE, CrawlerCleanup
from billing_lake_tests.servers.aws import Aws
from billing_lake_tests.tables.glue import GlueDatabase, new_database

HEADER = (
    "identity/LineItemId",
    "lineItem/UnblendedCost",
    "lineItem/UsageAccountId",
    "lineItem/Note",
)
ROWS = (("a", "1.50", "000123456789", 'say "hi", \\you'), ("b", "", "000123456789", "Ünïcode"))
TYPES = {"line_item_unblended_cost": DECIMAL}
WAITS = CrawlerWaits(poll=0.02, limit=20.0, role=2.0, stop=10.0, log=10.0)
ROLE = "arn:aws:iam::123456789012:role/crawler"


class Raw:
    """Deliveries of one export, and the tables over them."""

    def __init__(self, lake: GlueDatabase, *, waits: CrawlerWaits = WAITS) -> None:
        self.lake = lake
        self.database = f"{lake.namespace}_crawled"
        self.root = f"s3://{lake.bucket}/warehouse/crawled"
        self.tables = self.another(waits=waits)

    def another(self, root: str | None = None, waits: CrawlerWaits = WAITS) -> GlueCrawledTables:
        return GlueCrawledTables(
            self.lake.files, root or self.root, role=ROLE, database=self.database, waits=waits
        )

    def deliver(
        self,
        version: str = "v1",
        period: str = "2025-03",
        *,
        export: str = "cur",
        headers: Sequence[Sequence[str]] = (HEADER,),
        beside: Sequence[str] = (),
        folder: str | None = None,
    ) -> Crawl:
        """Put a delivery into the bucket, one file for each header, and crawl it."""
        prefix = folder or f"landing/{export}/{period}/{version}"
        for name in beside:
            self.lake.aws.put(self.lake.bucket, f"{prefix}/{name}", b"{}")
        objects, sources = [], []
        for number, header in enumerate(headers, start=1):
            text = io.StringIO(newline="")
            csv.writer(text, quoting=csv.QUOTE_MINIMAL).writerows([header, *ROWS])
            key = f"{prefix}/cur-{number:05d}.csv.gz"
            data = gzip.compress(text.getvalue().encode())
            uri = self.lake.aws.put(self.lake.bucket, key, data)
            objects.append(StoredObject(key=key, uri=uri, size=len(data), etag="e", modified="m"))
            sources.append(
                SourceFile(uri=uri, name=key, columns=column_names(header, key, LEGACY_CUR))
            )
        names = dict.fromkeys(name for file in sources for name in file.columns)
        return Crawl(
            table=crawled_table_name(export, period, version),
            delivery=Delivery(
                export=export, period=period, version=version, layout="loose", files=tuple(objects)
            ),
            source=Source(
                container="csv",
                compression="gzip",
                files=tuple(sources),
                columns=tuple(Column(name, TYPES.get(name, STRING)) for name in names),
            ),
            merged=(),
            profile=Profile(
                rows=2 * len(objects),
                files={o.key: FileProfile(rows=2, totals={}) for o in objects},
            ),
        )

    def entry(self, name: str) -> Any:
        return self.lake.glue.get_table(DatabaseName=self.database, Name=name)["Table"]

    def athena_files(self, name: str) -> list[str]:
        """The files that Athena reads for a table."""
        storage = self.entry(name)["StorageDescriptor"]
        listed = [file.uri for file in self.lake.files.list(storage["Location"])]
        if "Symlink" in storage["InputFormat"]:
            texts = [self.lake.files.read(uri).decode() for uri in listed]
            return sorted(line for text in texts for line in text.splitlines())
        return sorted(listed)

    def left(self) -> tuple[list[str], list[str], list[str]]:
        """Crawlers, classifiers and tables of crawls that are over."""
        glue = self.lake.aws.glue
        mine = self.lake.namespace
        tables = self.lake.glue.get_tables(DatabaseName=self.database)["TableList"]
        return (
            [
                name
                for name, one in glue.backend.crawlers.items()
                if one.database_name.startswith(mine)
            ],
            list(glue.crawlers.classifiers.made),
            [table["Name"] for table in tables if table["Name"].startswith("crawl_")],
        )


@pytest.fixture
def raw(aws: Aws, aws_environment: dict[str, str]) -> Iterator[Raw]:
    for lake in new_database(aws):
        yield Raw(lake)
    aws.glue.crawlers.release()


def columns_of(table: Any) -> list[tuple[str, str]]:
    return [(c["Name"], c["Type"]) for c in table["StorageDescriptor"]["Columns"]]


def test_a_delivery_alone_in_its_folder_is_read_there_and_every_cell_as_it_was_written(
    raw: Raw,
) -> None:
    crawl, told = raw.deliver(headers=(HEADER, HEADER)), list[str]()
    raw.tables.register(crawl, log=told.append)
    table = raw.entry(crawl.table)
    assert columns_of(table) == [
        ("identity_line_item_id", "string"),
        ("line_item_unblended_cost", "string"),
        ("line_item_usage_account_id", "string"),
        ("line_item_note", "string"),
    ]
    comments = [c["Comment"] for c in table["StorageDescriptor"]["Columns"]]
    assert comments[1] == "decimal(38, 18)"
    assert table["TableType"] == "EXTERNAL_TABLE"
    assert table["Parameters"]["skip.header.line.count"] == "1"
    assert table["Parameters"]["recordCount"] == "4"
    assert "Symlink" not in table["StorageDescriptor"]["InputFormat"]
    assert raw.athena_files(crawl.table) == [file.uri for file in crawl.source.files]
    serde = table["StorageDescriptor"]["SerdeInfo"]
    assert serde["SerializationLibrary"].endswith("OpenCSVSerde")
    assert serde["Parameters"]["escapeChar"] != "\\", "a backslash in a cell stays"
    assert any("4 columns, 2 files" in line for line in told)
    assert not any("WARNING" in line for line in told)


def test_beside_other_files_exactly_the_deliverys_are_listed(raw: Raw) -> None:
    crawl = raw.deliver(headers=(HEADER, HEADER), beside=("cur-Manifest.json", "old/x.csv.gz"))
    raw.tables.register(crawl)
    assert raw.athena_files(crawl.table) == [file.uri for file in crawl.source.files]
    raw.tables.drop(crawl.table)
    assert raw.lake.files.list(raw.root) == [], "the list is gone with the table"
    assert all(raw.lake.files.size(file.uri) for file in crawl.source.files)


def test_cells_that_share_a_column_get_names_of_their_own(raw: Raw) -> None:
    header = (*HEADER, "lineItem/note", "line_item/Note")
    crawl = raw.deliver(headers=(header,))
    raw.tables.register(crawl)
    names = [name for name, _ in columns_of(raw.entry(crawl.table))]
    assert names[3:] == ["line_item_note", "line_item_note__2", "line_item_note__3"]
    assert "counts where line_item_note is empty" in str(raw.entry(crawl.table))


def test_files_with_another_order_of_columns_have_a_table_of_their_own(raw: Raw) -> None:
    crawl, told = raw.deliver(headers=(HEADER, HEADER[::-1], HEADER)), list[str]()
    raw.tables.register(crawl, log=told.append)
    first, second, third = (file.uri for file in crawl.source.files)
    part = f"{crawl.table}_part_2"
    assert raw.athena_files(crawl.table) == [first, third]
    assert raw.athena_files(part) == [second]
    assert columns_of(raw.entry(part)) == columns_of(raw.entry(crawl.table))[::-1]
    assert any(part in line for line in told)
    assert raw.tables.names() == (crawl.table,)
    raw.tables.drop(crawl.table)
    assert raw.lake.glue.get_tables(DatabaseName=raw.database)["TableList"] == []


def test_a_crawl_is_found_under_its_name_in_any_process(raw: Raw) -> None:
    crawl = raw.deliver()
    raw.tables.register(crawl)
    assert raw.another().names() == (crawl.table,)
    raw.tables.drop(crawl.table)
    raw.tables.drop(crawl.table)
    assert raw.tables.names() == ()
    assert raw.lake.files.list(raw.root) == []


def test_the_next_crawl_of_a_period_replaces_the_one_before(raw: Raw) -> None:
    others = [raw.deliver(period="2025-04"), raw.deliver(export="other")]
    last = raw.deliver("v2", beside=("manifest.json",))
    for one in (*others, raw.deliver("v1", beside=("manifest.json",)), last, last):
        raw.tables.register(one)
    assert set(raw.tables.names()) == {one.table for one in (*others, last)}
    folders = {file.uri.rpartition("/")[0] for file in raw.lake.files.list(raw.root)}
    assert len(folders) == 1, "what belonged to earlier registrations is gone"


def test_a_crawled_table_with_a_name_that_is_none_is_refused(raw: Raw) -> None:
    with pytest.raises(ConfigurationError, match="crawled table"):
        raw.tables.register(replace(raw.deliver(), table="../x"))


def test_the_table_of_another_lake_is_neither_given_nor_dropped(raw: Raw) -> None:
    crawl = raw.deliver()
    raw.tables.register(crawl)
    other = raw.another(f"s3://{raw.lake.bucket}/another-lake")
    other.drop(crawl.table)
    assert other.names() == ()
    with pytest.raises(TableError, match="not this lake's"):
        other.register(crawl)
    assert raw.tables.names() == (crawl.table,)


@pytest.mark.parametrize("crawler", ["built_in", "glue"])
def test_a_table_that_cannot_be_read_back_is_said_and_stops_nothing(
    raw: Raw, monkeypatch: pytest.MonkeyPatch, crawler: Any
) -> None:
    crawl, told = raw.deliver(), list[str]()
    put = GlueCrawledTables._put

    def put_and_lose_the_right(*args: Any) -> Any:
        done = put(*args)
        message = "Insufficient Lake Formation permission(s): Required Describe"
        raw.lake.aws.glue.fail_next("GetTable", "AccessDeniedException", message)
        return done

    monkeypatch.setattr(GlueCrawledTables, "_put", put_and_lose_the_right)
    raw.tables.register(crawl, crawler, told.append)
    (warning,) = (line for line in told if "WARNING" in line)
    assert "Lake Formation" in warning
    assert "read directly" in warning


def test_a_table_that_must_not_be_made_is_a_named_error(raw: Raw) -> None:
    raw.lake.aws.glue.fail_next("CreateTable", "AccessDeniedException", "User: x is not authorized")
    with pytest.raises(StorageWriteError, match="AWS denies glue:CreateTable"):
        raw.tables.register(raw.deliver())


def test_glues_crawler_looks_at_the_delivery_alone_and_its_guesses_give_way(raw: Raw) -> None:
    beside = ("cur-Manifest.json", "older/cur-00001.csv.gz")
    crawl, told = raw.deliver(beside=beside), list[str]()
    targets: list[Any] = []
    backend = raw.lake.aws.glue.backend
    # Other tests of the process may have left crawlers in the account that all of them share.
    others = {*backend.crawlers}
    raw.lake.aws.glue.crawlers.hold()

    def note(line: str) -> None:
        told.append(line)
        targets.extend(
            one.as_dict() for name, one in backend.crawlers.items() if name not in others
        )
        if "RUNNING" in line:
            raw.lake.aws.glue.crawlers.release()

    raw.tables.register(crawl, "glue", note)
    described = targets[0]
    (target,) = described["Targets"]["S3Targets"]
    assert target["Path"] == f"{crawl.source.files[0].uri.rpartition('/')[0]}/"
    assert target["Exclusions"] == ["older/**", "cur-Manifest.json"]
    assert described["Role"] == ROLE
    assert described["SchemaChangePolicy"] == {"UpdateBehavior": "LOG", "DeleteBehavior": "LOG"}
    table = raw.entry(crawl.table)
    assert ("line_item_unblended_cost", "string") in columns_of(table), "not the crawler's double"
    assert table["Parameters"]["UPDATED_BY_CRAWLER"] == described["Name"]
    assert raw.athena_files(crawl.table) == [crawl.source.files[0].uri]
    assert raw.tables.names() == (crawl.table,)
    assert raw.left() == ([], [], [])
    assert any(re.search(r"RUNNING, \d+ s", line) for line in told)
    assert any("found 4 columns" in line for line in told)


def test_names_that_are_patterns_exclude_nothing_but_themselves() -> None:
    assert _exclusions(["a[1]/b", "{x}*.sql"]) == ["a\\[1\\]/**", "\\{x\\}\\*.sql"]


def test_two_crawls_at_once_do_not_disturb_each_other(raw: Raw) -> None:
    crawls = [raw.deliver(period=period) for period in ("2025-03", "2025-04")]
    again = raw.deliver(period="2025-04")
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda one: raw.another().register(one, "glue"), [*crawls, again]))
    for one in crawls:
        assert raw.athena_files(one.table) == [one.source.files[0].uri]
    assert raw.left() == ([], [], [])


def test_a_crawler_that_fails_is_a_named_error_with_glues_reason_and_its_log(raw: Raw) -> None:
    raw.lake.aws.glue.crawlers.fail_next("Insufficient Lake Formation permission(s)")
    with pytest.raises(
        CrawlerError,
        match=r"ended as FAILED: Insufficient Lake Formation.*https://us-east-1\.console.*log-events/",
    ):
        raw.tables.register(raw.deliver(), "glue")
    assert raw.left() == ([], [], [])
    assert raw.tables.names() == ()


def test_a_crawler_that_is_too_slow_is_stopped_and_removed(raw: Raw) -> None:
    raw.lake.aws.glue.crawlers.hold()
    with pytest.raises(CrawlerError, match=r"was not done after 0 s \(RUNNING\)"):
        raw.another(waits=replace(WAITS, limit=0.1)).register(raw.deliver(), "glue")
    assert raw.left() == ([], [], [])


def test_a_crawler_that_somebody_stops_is_a_named_error(raw: Raw) -> None:
    raw.lake.aws.glue.crawlers.hold()

    def stop(line: str) -> None:
        if "RUNNING" in line:
            name = line.split()[2].rstrip(":")
            raw.lake.glue.stop_crawler(Name=name)

    with pytest.raises(CrawlerError, match="ended as CANCELLED"):
        raw.tables.register(raw.deliver(), "glue", stop)
    assert raw.left() == ([], [], [])


def test_a_crawler_that_somebody_removes_is_a_named_error(raw: Raw) -> None:
    def remove(line: str) -> None:
        if "started" in line:
            raw.lake.aws.glue.fail_next("GetCrawler", "EntityNotFoundException", "not found")

    with pytest.raises(CrawlerError, match="was removed while it ran"):
        raw.tables.register(raw.deliver(), "glue", remove)
    assert raw.left() == ([], [], [])


def test_an_interrupted_run_leaves_no_crawler(raw: Raw) -> None:
    raw.lake.aws.glue.crawlers.hold()

    def interrupt(line: str) -> None:
        if "RUNNING" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        raw.tables.register(raw.deliver(), "glue", interrupt)
    assert raw.left() == ([], [], [])


@pytest.mark.parametrize("case", ["its run has ended", "young", "somebody else's", "may not look"])
def test_what_a_killed_run_left_is_removed_by_a_later_crawl(
    raw: Raw, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    def kill(line: str) -> None:
        if "READY" in line:
            raise KeyboardInterrupt

    killed = raw.deliver()
    with monkeypatch.context() as patched:
        patched.setattr(CrawlerCleanup, "remove", lambda _: None)
        with pytest.raises(KeyboardInterrupt):
            raw.tables.register(killed, "glue", kill)
    crawlers, classifiers, tables = left = raw.left()
    assert [len(one) for one in left] == [1, 1, 1]
    crawler = raw.lake.aws.glue.backend.crawlers[crawlers[0]]
    crawler.creation_time -= ABANDONED_AGE if case != "young" else ABANDONED_AGE / 2
    if case == "somebody else's":
        crawler.description = "Reads the bill"
    if case == "may not look":
        raw.lake.aws.glue.fail_next("GetCrawlers", "AccessDeniedException")

    said: list[str] = []
    crawl = raw.deliver(period="2025-04")
    raw.tables.register(crawl, "glue", said.append)
    assert crawl.table in raw.tables.names()
    gone = case == "its run has ended"
    assert any("its run has ended" in line for line in said) == gone
    assert raw.left() == (([], [], []) if gone else (crawlers, classifiers, tables))
    CrawlerCleanup(GlueApi(raw.lake.files.clients), raw.database, crawlers[0]).remove()
    assert raw.left() == ([], [], [])


def made_by(raw: Raw, change: Callable[[Any, str], None]) -> Callable[[str], None]:
    """Change what a crawler made, as soon as it is READY."""

    def log(line: str) -> None:
        if "READY" in line:
            found = raw.lake.glue.get_tables(DatabaseName=raw.database)["TableList"]
            for table in found:
                if table["Name"].startswith("crawl_"):
                    change(raw.lake.glue, table["Name"])

    return log


def test_a_crawler_that_made_several_tables_is_a_named_error_that_lists_them(raw: Raw) -> None:
    def double(glue: Any, name: str) -> None:
        glue.create_table(DatabaseName=raw.database, TableInput={"Name": f"{name}_second"})

    with pytest.raises(CrawlerError, match=r"made 2 tables of .*v1, not one: v1, v1_second"):
        raw.tables.register(raw.deliver(), "glue", made_by(raw, double))
    assert raw.left() == ([], [], [])


def test_a_crawler_that_made_no_table_is_a_named_error(raw: Raw) -> None:
    def remove(glue: Any, name: str) -> None:
        glue.delete_table(DatabaseName=raw.database, Name=name)

    with pytest.raises(CrawlerError, match="made no table of s3://"):
        raw.tables.register(raw.deliver(), "glue", made_by(raw, remove))


def test_a_role_that_is_not_known_everywhere_yet_is_waited_for(raw: Raw) -> None:
    message = "Service is unable to assume provided role. Please verify role's TrustPolicy"
    raw.lake.aws.glue.fail_next("CreateCrawler", "InvalidInputException", message, times=2)
    crawl = raw.deliver()
    raw.tables.register(crawl, "glue")
    assert raw.tables.names() == (crawl.table,)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDeniedException", "User: x is not authorized to perform: iam:PassRole on resource"),
        ("InvalidInputException", "Service is unable to assume provided role"),
    ],
)
def test_a_role_that_cannot_be_used_names_the_setting(raw: Raw, code: str, message: str) -> None:
    raw.lake.aws.glue.fail_next("CreateCrawler", code, message, times=20)
    tables = raw.another(waits=replace(WAITS, role=0.1))
    with pytest.raises(ConfigurationError, match="Set BILLING_LAKE_GLUE_CRAWLER_ROLE"):
        tables.register(raw.deliver(), "glue")
    assert raw.left() == ([], [], [])


def test_without_a_role_glues_crawler_is_refused_before_anything_is_made(raw: Raw) -> None:
    tables = GlueCrawledTables(raw.lake.files, raw.root, database=raw.database)
    with pytest.raises(ConfigurationError, match="BILLING_LAKE_GLUE_CRAWLER_ROLE is not set"):
        tables.register(raw.deliver(), "glue")
    with pytest.raises(ConfigurationError, match="no crawler 'other'"):
        tables.register(raw.deliver(), "other")  # type: ignore[arg-type]
    assert raw.left() == ([], [], [])
