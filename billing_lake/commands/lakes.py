"""Opens the lake that a command reads: in a folder, by DuckDB, or in an AWS account, by Athena."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from billing_lake.domain.errors import INSTALL_AWS, ConfigurationError

if TYPE_CHECKING:
    from billing_lake.deployments import Lake
    from billing_lake.sql.tables import TableSql


def lake_to_read(
    deployment: str | None = None, environment: Mapping[str, str] = os.environ
) -> Lake:
    """Return the lake of a deployment.

    Args:
        deployment: Its name; what the environment chooses where it is None.
        environment: The settings.

    Raises:
        ConfigurationError: There is no such deployment, or a setting of it is missing or wrong.
        TableError: There is no lake yet.
    """
    from billing_lake.commands.home import existing_lake
    from billing_lake.deployments import DEPLOYMENT_SETTING, LocalLake, chosen_deployment, open_lake
    from billing_lake.deployments.local import home_folder

    settings = dict(environment)
    if deployment is not None:
        settings[DEPLOYMENT_SETTING] = deployment
    if chosen_deployment(settings) == "aws":
        return open_lake(settings)
    # Whatever loads the folder, its tables are the same, and to read them needs neither Spark nor Dagster.
    return existing_lake(LocalLake(home_folder(settings)))


def open_tables(
    deployment: str | None = None, environment: Mapping[str, str] = os.environ
) -> TableSql:
    """Return SQL over the tables of a deployment; see `lake_to_read`."""
    from billing_lake.deployments import LocalLake

    lake = lake_to_read(deployment, environment)
    if not isinstance(lake, LocalLake):
        _require_athena()
    return lake.sql(_progress(), _done)


def _require_athena() -> None:
    try:
        import boto3  # noqa: F401
        import pyathena  # noqa: F401
        import sqlglot  # noqa: F401
    except ModuleNotFoundError as error:
        what = f"Queries on AWS need the package {error.name}, which is not installed"
        raise ConfigurationError(what, remedy=INSTALL_AWS) from error

    from billing_lake.aws.clients import require_credentials

    # Once, before three catalogs and Athena each report it in another way.
    require_credentials()


def _progress() -> Callable[[str], None]:
    """Return what shows the progress of a query on a terminal, in one line that is written over; nothing where it is a pipe."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda text: click.echo(f"\r\x1b[K{text}", nl=False, err=True)


def _done(text: str) -> None:
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{clear}{text}", err=True)
