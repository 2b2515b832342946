"""Opens the tables that `query` asks: those of a folder, by DuckDB, or those of an AWS account, by Athena."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from billing_lake.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from billing_lake.sql.tables import TableSql


def open_tables(
    deployment: str | None = None, environment: Mapping[str, str] = os.environ
) -> TableSql:
    """Return the tables of a deployment.

    Args:
        deployment: Its name; what the environment chooses where it is None.
        environment: The settings.

    Raises:
        ConfigurationError: There is no such deployment, or a setting of it is missing or wrong.
        TableError: There is no lake yet.
    """
    from billing_lake.deployments import DEPLOYMENT_SETTING, LocalLake, chosen_deployment
    from billing_lake.deployments.local import home_folder

    settings = dict(environment)
    if deployment is not None:
        settings[DEPLOYMENT_SETTING] = deployment
    if chosen_deployment(settings) == "aws":
        return _athena(settings)

    from billing_lake.commands.home import existing_lake
    from billing_lake.sql.lake_sql import LakeSql

    # Whatever loads the folder, its tables are the same, and to read them needs neither Spark nor Dagster.
    return LakeSql(existing_lake(LocalLake(home_folder(settings))))


def _athena(settings: Mapping[str, str]) -> TableSql:
    try:
        import boto3  # noqa: F401
        import pyathena  # noqa: F401
        import sqlglot  # noqa: F401
    except ModuleNotFoundError as error:
        what = f"Queries on AWS need the package {error.name}, which is not installed"
        raise ConfigurationError(what, remedy='pip install "billing-lake[aws]"') from error

    from billing_lake.deployments.aws import aws_lake
    from billing_lake.tables.iceberg_opening import require_credentials

    lake = aws_lake(settings)
    # Once, before three catalogs and Athena each report it in another way.
    require_credentials()
    return lake.sql(_progress(), _done)


def _progress() -> Callable[[str], None]:
    """Return what shows the progress of a query on a terminal, in one line that is written over; nothing where it is a pipe."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda text: click.echo(f"\r\x1b[K{text}", nl=False, err=True)


def _done(text: str) -> None:
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{clear}{text}", err=True)
