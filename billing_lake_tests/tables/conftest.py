from __future__ import annotations

from pathlib import Path

import pytest

from billing_lake.tables.base import TableCatalog
from billing_lake.tables.glue_hive import GlueHiveTables
from billing_lake.tables.hive import HiveTables
from billing_lake.tables.iceberg import IcebergTables
from billing_lake_tests.tables.making import FIELDS, MAKERS, ON_AWS, TABLE, hive, iceberg


@pytest.fixture(params=sorted(MAKERS))
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> TableCatalog:
    """Each kind of catalog, with an empty table; `everywhere` adds those on AWS."""
    if request.param in ON_AWS:
        request.getfixturevalue("aws_environment")
        made = ON_AWS[request.param](request.getfixturevalue("aws"))
    else:
        made = MAKERS[request.param](tmp_path)
    assert made.create(TABLE, FIELDS)
    return made


@pytest.fixture
def staging(catalog: TableCatalog, tmp_path: Path) -> str:
    """Where an engine leaves its files for the catalog: in S3 where they are copied there by S3 itself."""
    if isinstance(catalog, GlueHiveTables):
        return f"{catalog.uri(TABLE).removesuffix(f'/hive/{TABLE}')}/staging"
    return str(tmp_path / "staging")


@pytest.fixture
def iceberg_tables(tmp_path: Path) -> IcebergTables:
    """Iceberg tables, with an empty one."""
    made = iceberg(tmp_path)
    assert made.create(TABLE, FIELDS)
    return made


@pytest.fixture
def hive_tables(tmp_path: Path) -> HiveTables:
    """Hive-style tables, with an empty one."""
    made = hive(tmp_path)
    assert made.create(TABLE, FIELDS)
    return made
