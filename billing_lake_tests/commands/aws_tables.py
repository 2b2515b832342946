"""The tables of a lake on this machine, once more on AWS: the same rows in Glue's Iceberg and Hive tables and in S3 Tables."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from billing_lake.deployments import LocalLake
from billing_lake.deployments.aws import AwsLake, aws_lake
from billing_lake.domain.sources import PeriodKey
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import resolve_delivery
from billing_lake.loads.crawl import crawl_delivery
from billing_lake.loads.load import encode_delivery
from billing_lake_tests.servers.aws import Aws


def settings(aws: Aws) -> dict[str, str]:
    """The settings of a new lake."""
    return {
        "BILLING_LAKE_LANDING_BUCKET": aws.new_bucket(),
        "BILLING_LAKE_WAREHOUSE": f"s3://{aws.new_bucket()}/lake",
        "BILLING_LAKE_TABLE_BUCKET_ARN": aws.new_table_bucket(),
        "BILLING_LAKE_S3_TABLES_URI": aws.iceberg_url,
        "BILLING_LAKE_ENGINE": "polars",
    }


def copy_tables(
    lake: LocalLake,
    location: ExportLocation,
    periods: tuple[str, ...],
    environment: Mapping[str, str],
    table: str,
    scratch: Path,
) -> AwsLake:
    """Load billing periods of an export of ``lake`` into ``table`` of the lake that the environment describes."""
    target = aws_lake(environment)
    fields = lake.iceberg.fields(f"billing.{location.name}")
    assert fields is not None
    for catalog in (target.iceberg, target.hive, target.s3_tables):
        assert catalog.create(table, fields)
    engine = lake.engine(lambda _: None)
    for period in periods:
        crawl = crawl_delivery(lake, engine, resolve_delivery(lake.storage, location, period))
        made = encode_delivery(engine, crawl, fields, str(scratch / period))
        for catalog in (target.iceberg, target.hive, target.s3_tables):
            folder = f"{target.staging}/{uuid.uuid4().hex}"
            placed = []
            for file in made.files:
                uri = f"{folder}/{Path(file.uri).name}"
                target.files.write(uri, Path(file.uri).read_bytes())
                placed.append(replace(file, uri=uri))
            catalog.replace_period(
                table,
                PeriodKey(location.name, period),
                replace(made, files=tuple(placed)),
                properties={"billing-lake.delivery-version": made.version},
                verify=lambda: None,
            )
    return target
