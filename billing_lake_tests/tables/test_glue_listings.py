"""What lists of tables have of a Glue Data Catalog, which a lake shares with other lakes and with other teams."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from billing_lake.domain.errors import CredentialsError
from billing_lake.tables.base import TableCatalog
from billing_lake.tables.glue_hive import GlueHiveTables
from billing_lake.tables.glue_iceberg import GlueIcebergTables
from billing_lake_tests.servers.aws import Aws
from billing_lake_tests.tables.making import FIELDS, files_in_s3

MAKERS: dict[str, Callable[[str], TableCatalog]] = {
    "iceberg": lambda root: GlueIcebergTables(files_in_s3(), root),
    "hive": lambda root: GlueHiveTables(files_in_s3(), root),
}


@pytest.fixture(params=sorted(MAKERS))
def make(request: pytest.FixtureRequest, aws: Aws, aws_environment: object) -> Any:
    """Make the tables of one more lake of the account."""
    return lambda: MAKERS[request.param](f"s3://{aws.new_bucket()}/{request.param}")


@pytest.fixture
def refused(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Refuse to list the tables of a database, with an error of Glue."""

    def refuse(database: str, code: str) -> None:
        def watch(response: Any, action: str) -> Any:
            if action == "GetTables" and response.parameters["DatabaseName"] == database:
                return 400, {"x-amzn-errortype": code}, json.dumps({"__type": code})
            return None

        monkeypatch.setattr(aws.glue, "watch", watch)

    return refuse


def test_tables_of_other_lakes_of_the_account_are_not_listed(make: Any) -> None:
    one, other = make(), make()
    assert one.create("listed_one.costs", FIELDS)
    assert other.create("listed_other.costs", FIELDS)
    assert one.tables() == ("listed_one.costs",)
    assert other.tables() == ("listed_other.costs",)


def test_a_database_that_may_not_be_looked_into_is_left_out(
    make: Any, refused: Callable[[str, str], None], aws: Aws
) -> None:
    for database in ("aaa_of_others", "aaa_of_others_hive"):
        if database not in aws.glue.backend.databases:
            aws.client("glue").create_database(DatabaseInput={"Name": database})
    tables = make()
    assert tables.create("listed_ours.costs", FIELDS)
    name = "aaa_of_others_hive" if isinstance(tables, GlueHiveTables) else "aaa_of_others"
    refused(name, "AccessDeniedException")
    assert tables.tables() == ("listed_ours.costs",)
    refused(name, "ExpiredTokenException")
    with pytest.raises(CredentialsError, match="expired"):
        tables.tables()


def test_a_link_to_a_database_elsewhere_is_not_followed(
    make: Any, refused: Callable[[str, str], None], aws: Aws
) -> None:
    tables = make()
    assert tables.create("listed_here.costs", FIELDS)
    name = f"aab_linked{'_hive' if isinstance(tables, GlueHiveTables) else ''}"
    elsewhere = {"CatalogId": "210987654321", "DatabaseName": "theirs"}
    aws.client("glue").create_database(DatabaseInput={"Name": name, "TargetDatabase": elsewhere})
    refused(name, "FederationSourceException")
    assert tables.tables() == ("listed_here.costs",)
