"""Somebody's own Spark reads the Iceberg tables of a lake on this machine, writes to them, and harms nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import billing_lake
from billing_lake.deployments import LocalLake
from billing_lake.domain.schemas import Column, plan
from billing_lake.domain.types import STRING
from billing_lake.resources.spark_iceberg import START_SETTINGS, catalog_settings
from billing_lake.tables.iceberg import IcebergTables
from billing_lake.tables.local_place import ICEBERG_CATALOGS
from billing_lake_tests.servers.jars import ICEBERG_IN_SQLITE, jar_files
from billing_lake_tests.tables.making import (
    APRIL,
    COLUMNS,
    FIELDS,
    MARCH,
    OTHER_MARCH,
    TABLE,
    count,
    encode,
    load,
    versions,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ROUNDS = 5
IN_SPARK = f"iceberg.{TABLE}"


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    """A lake whose Iceberg catalogs hold an empty table each."""
    lake = LocalLake(tmp_path / "the lake")
    for tables in (lake.iceberg, lake.s3_tables):
        assert tables.create(TABLE, FIELDS)
    return lake


@pytest.fixture
def session(spark: SparkSession, lake: LocalLake) -> Iterator[SparkSession]:
    """A session that knows the catalogs of the lake; they are asked for by name, so each lake needs a session."""
    jar_files(ICEBERG_IN_SQLITE)
    session = spark.newSession()
    for name, value in catalog_settings(lake.home).items():
        session.conf.set(name, value)
    yield session
    for name in ICEBERG_CATALOGS:
        session.conf.unset(f"spark.sql.catalog.{name}")


def counts(session: SparkSession, table: str = IN_SPARK) -> dict[tuple[str, str], int]:
    """Rows by billing period and delivery version."""
    rows = session.table(table).select("billing_period", "delivery_version").collect()
    return Counter((row.billing_period, row.delivery_version) for row in rows)


def own_rows(session: SparkSession, version: str, rows: int) -> DataFrame:
    """Rows that Spark writes into another export's March."""
    return (
        session.table(IN_SPARK)
        .limit(0)
        .unionByName(
            session.range(rows).selectExpr(
                "CAST(2.25 AS DECIMAL(38, 18)) AS line_item_unblended_cost",
                f"'{OTHER_MARCH.export}' AS export_name",
                f"'{OTHER_MARCH.period}' AS billing_period",
                f"'{version}' AS delivery_version",
            ),
            allowMissingColumns=True,
        )
    )


def overwrite(session: SparkSession, version: str, rows: int) -> None:
    """Replace another export's March from Spark."""
    from pyspark.sql import functions as F  # noqa: N812 - as everybody who writes Spark calls it

    period = (F.col("export_name") == OTHER_MARCH.export) & (
        F.col("billing_period") == OTHER_MARCH.period
    )
    own_rows(session, version, rows).writeTo(IN_SPARK).overwrite(period)


@pytest.mark.parametrize("name", ICEBERG_CATALOGS)
def test_spark_reads_what_was_loaded_to_the_last_digit(
    session: SparkSession, lake: LocalLake, tmp_path: Path, name: str
) -> None:
    tables: dict[str, IcebergTables] = {"iceberg": lake.iceberg, "s3tables": lake.s3_tables}
    load(tables[name], encode(tmp_path / "staging", rows=(3, 2)))
    load(tables[name], encode(tmp_path / "staging", APRIL, rows=(1,)), APRIL)
    assert counts(session, f"{name}.{TABLE}") == {("2025-03", "v1"): 5, ("2025-04", "v1"): 1}
    (row,) = session.sql(
        f"SELECT sum(line_item_unblended_cost) AS cost FROM {name}.{TABLE} WHERE billing_period = '2025-03'"
    ).collect()
    assert row.cost == Decimal("7.5")


def test_spark_sees_a_restatement_and_a_new_column_at_once(
    session: SparkSession, lake: LocalLake, tmp_path: Path
) -> None:
    load(lake.iceberg, encode(tmp_path / "staging", rows=(3,)))
    assert counts(session) == {("2025-03", "v1"): 3}
    load(lake.iceberg, encode(tmp_path / "staging", rows=(2,), version="v2"))
    assert counts(session) == {("2025-03", "v2"): 2}

    wider = plan(FIELDS, (*COLUMNS, Column("resource_tags_user_project", STRING)))
    fields = lake.iceberg.evolve(TABLE, wider)
    encoded = encode(tmp_path / "staging", APRIL, rows=(1,), fields=fields)
    load(lake.iceberg, encoded, APRIL)
    frame = session.table(IN_SPARK)
    assert frame.columns == [field.name for field in fields]
    assert {row.resource_tags_user_project for row in frame.collect()} == {None}
    assert counts(session) == {("2025-03", "v2"): 2, ("2025-04", "v1"): 1}


def test_the_lake_reads_what_spark_wrote_and_replaces_it(
    session: SparkSession, lake: LocalLake, tmp_path: Path
) -> None:
    load(lake.iceberg, encode(tmp_path / "staging", rows=(3,)))
    overwrite(session, "own", 4)
    assert count(lake.iceberg.files(TABLE, OTHER_MARCH)) == 4
    assert count(lake.iceberg.files(TABLE, MARCH)) == 3
    load(lake.iceberg, encode(tmp_path / "staging", OTHER_MARCH, rows=(1,)), OTHER_MARCH)
    assert versions(lake.iceberg.files(TABLE, OTHER_MARCH)) == {"v1"}
    assert counts(session) == {("2025-03", "v1"): 4}


def test_commits_from_both_sides_at_once_lose_nothing(
    session: SparkSession, lake: LocalLake, tmp_path: Path
) -> None:
    encoded = [encode(tmp_path / "staging", rows=(n + 1,), version=f"v{n}") for n in range(ROUNDS)]
    with ThreadPoolExecutor(max_workers=1) as other_side:
        loads = [other_side.submit(load, LocalLake(lake.home).iceberg, one) for one in encoded]
        for n in range(ROUNDS):
            overwrite(session, f"own{n}", n + 2)
        for one in loads:
            one.result()

    ours, theirs = f"v{ROUNDS - 1}", f"own{ROUNDS - 1}"
    assert counts(session) == {("2025-03", ours): ROUNDS, ("2025-03", theirs): ROUNDS + 1}
    assert count(lake.iceberg.files(TABLE, MARCH)) == ROUNDS
    assert count(lake.iceberg.files(TABLE, OTHER_MARCH)) == ROUNDS + 1
    assert len(lake.iceberg.open(TABLE).metadata.snapshots) == 2 * ROUNDS


def test_the_documented_settings_are_those_that_are_tested() -> None:
    page = Path(billing_lake.__file__).parents[1] / "docs" / "deployments.md"
    documented = {" ".join(line.split()) for line in page.read_text().splitlines()}
    settings = {
        **START_SETTINGS,
        **catalog_settings(Path("/path/to/lake")),
    }
    expected = {f"{name} {value}" for name, value in settings.items() if "s3tables" not in name}
    assert expected - documented == set()
