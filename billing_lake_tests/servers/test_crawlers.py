"""Crawlers of the Glue stand-in look at files and make tables as Glue's do, their oddities included."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from typing import Any

import pytest

from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.aws import Aws

REPORT = b"Identity/Id,cost,usage,day\n1,2,0.5,2024-01-01\n2,3,1E-9,2024-01-02\n"


def crawl(aws: Aws, name: str, target: str, database: str, prefix: str = "crawl_") -> None:
    glue = aws.client("glue")
    glue.create_crawler(
        Name=name,
        Role="crawler",
        DatabaseName=database,
        TablePrefix=prefix,
        Targets={"S3Targets": [{"Path": target, "Exclusions": ["**.json"]}]},
    )
    glue.start_crawler(Name=name)


def wait(aws: Aws, name: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        crawler: dict[str, Any] = aws.client("glue").get_crawler(Name=name)["Crawler"]
        if until(crawler):
            return crawler
        assert time.monotonic() < deadline, crawler


def is_ready(crawler: dict[str, Any]) -> bool:
    return bool(crawler["State"] == "READY")


def test_a_crawler_makes_a_table_of_a_folder(aws: Aws) -> None:
    bucket = aws.new_bucket()
    aws.put(bucket, "bills/Month-1/a.csv.gz", gzip.compress(REPORT))
    aws.put(bucket, "bills/Month-1/manifest.json", "{}")
    glue = aws.client("glue")
    glue.create_database(DatabaseInput={"Name": "smoke_crawl"})
    crawl(aws, "looks", f"s3://{bucket}/bills/Month-1/", "smoke_crawl")
    assert wait(aws, "looks", is_ready)["LastCrawl"]["Status"] == "SUCCEEDED"
    (table,) = glue.get_tables(DatabaseName="smoke_crawl")["TableList"]
    storage = table["StorageDescriptor"]
    assert table["Name"] == "crawl_month_1"
    assert table["Parameters"]["UPDATED_BY_CRAWLER"] == "looks"
    assert table["Parameters"]["skip.header.line.count"] == "1"
    assert storage["Location"] == f"s3://{bucket}/bills/Month-1/"
    assert [(column["Name"], column["Type"]) for column in storage["Columns"]] == [
        ("identity/id", "bigint"),
        ("cost", "bigint"),
        ("usage", "double"),
        ("day", "string"),
    ]


def test_a_crawler_takes_another_name_where_the_plain_one_is_taken(aws: Aws) -> None:
    bucket = aws.new_bucket()
    glue = aws.client("glue")
    glue.create_database(DatabaseInput={"Name": "smoke_names"})
    for number in (1, 2):
        aws.put(bucket, f"{number}/files/a.csv.gz", gzip.compress(REPORT))
        crawl(aws, f"names-{number}", f"s3://{bucket}/{number}/files/", "smoke_names")
        wait(aws, f"names-{number}", is_ready)
    names = [table["Name"] for table in glue.get_tables(DatabaseName="smoke_names")["TableList"]]
    assert len(names) == 2
    assert names[1].startswith("crawl_files_")


def test_a_crawl_is_running_until_it_is_over_and_may_fail(aws: Aws) -> None:
    glue = aws.client("glue")
    glue.create_database(DatabaseInput={"Name": "smoke_states"})
    aws.glue.crawlers.hold()
    aws.glue.crawlers.fail_next("Insufficient Lake Formation permission(s)")
    crawl(aws, "held", f"s3://{aws.new_bucket()}/nothing/", "smoke_states")
    try:
        wait(aws, "held", lambda crawler: bool(crawler["State"] == "RUNNING"))
        with pytest.raises(glue.exceptions.CrawlerRunningException):
            glue.start_crawler(Name="held")
        with pytest.raises(glue.exceptions.CrawlerRunningException):
            glue.delete_crawler(Name="held")
    finally:
        aws.glue.crawlers.release()
    last = wait(aws, "held", is_ready)["LastCrawl"]
    assert last["Status"] == "FAILED"
    assert last["ErrorMessage"] == "Insufficient Lake Formation permission(s)"
    glue.delete_crawler(Name="held")


def test_a_stopped_crawl_is_cancelled(aws: Aws) -> None:
    glue = aws.client("glue")
    glue.create_database(DatabaseInput={"Name": "smoke_stop"})
    aws.glue.crawlers.hold()
    try:
        crawl(aws, "stopped", f"s3://{aws.new_bucket()}/nothing/", "smoke_stop")
        glue.stop_crawler(Name="stopped")
        assert wait(aws, "stopped", is_ready)["LastCrawl"]["Status"] == "CANCELLED"
    finally:
        aws.glue.crawlers.release()
