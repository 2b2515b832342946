from __future__ import annotations

from pathlib import Path

import pytest

from billing_lake.domain.crawls import Crawl, crawled_table_name
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import ConfigurationError
from billing_lake.domain.profiles import Profile
from billing_lake.domain.shared_columns import Merge
from billing_lake.domain.sources import Source
from billing_lake.tables.crawled_tables import CrawledTables


def crawl(period: str = "2025-03", version: str = "v1", export: str = "cur") -> Crawl:
    return Crawl(
        table=crawled_table_name(export, period, version),
        delivery=Delivery(export=export, period=period, version=version, layout="loose", files=()),
        source=Source(container="csv", compression="gzip", files=(), columns=()),
        merged=(Merge("a", ("A", "a")),),
        profile=Profile(rows=3),
    )


@pytest.fixture
def crawled(tmp_path: Path) -> CrawledTables:
    return CrawledTables(tmp_path / "catalog" / "hive.db")


def test_a_crawl_is_found_under_its_name_in_any_process(
    crawled: CrawledTables, tmp_path: Path
) -> None:
    crawled.register(crawl())
    assert CrawledTables(tmp_path / "catalog" / "hive.db").names() == (crawl().table,)


def test_the_next_crawl_of_a_period_replaces_the_one_before(crawled: CrawledTables) -> None:
    others = [crawl("2025-04"), crawl(export="other")]
    for one in (*others, crawl(version="v1"), crawl(version="v2"), crawl(version="v2")):
        crawled.register(one)
    assert set(crawled.names()) == {one.table for one in (*others, crawl(version="v2"))}


def test_dropping_a_crawled_table_twice_is_harmless(crawled: CrawledTables) -> None:
    crawled.register(crawl())
    crawled.drop(crawl().table)
    crawled.drop(crawl().table)
    assert crawled.names() == ()


def test_a_crawled_table_with_a_name_that_is_none_is_refused(crawled: CrawledTables) -> None:
    with pytest.raises(ConfigurationError, match="crawled table"):
        crawled.register(crawl(export="../x"))
