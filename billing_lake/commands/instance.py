"""`billing-lake dagster-home`: makes the lake's own Dagster instance, which is a folder of the lake."""

from __future__ import annotations

import os
from pathlib import Path

import click

from billing_lake.commands.home import require_writable

_SETTINGS = "dagster.yaml"
_SHIPPED = ".dagster.yaml.shipped"
"""What was last written: settings that differ from it are the user's own."""


@click.command("dagster-home", short_help="Prepare the lake's Dagster instance, print its folder.")
def dagster_home() -> None:
    """Prepare the Dagster instance of the lake, as `make dev` uses it, and print its folder.

    For `dagster` and `dg`: export DAGSTER_HOME="$(billing-lake dagster-home)". Its settings are in the dagster.yaml there; once you
    have changed that file, it stays as it is.
    """
    from billing_lake.deployments import chosen_deployment
    from billing_lake.deployments.local import home_folder, own_home
    from billing_lake.tables.local_place import require_made_here

    elsewhere = chosen_deployment(os.environ) == "aws"
    home = own_home(os.environ) if elsewhere else home_folder(os.environ)
    if (home / "catalog").is_dir():
        require_made_here(home)
    click.echo(prepare_instance(home))


def prepare_instance(home: Path) -> Path:
    """Make the Dagster instance of the lake in ``home``, with this release's settings unless the user has changed them.

    Raises:
        ConfigurationError: The folder cannot be written to.
    """
    folder = home / "dagster"
    require_writable(folder)
    ours = Path(__file__).with_name(_SETTINGS).read_bytes()
    settings, shipped = folder / _SETTINGS, folder / _SHIPPED
    theirs = settings.read_bytes() if settings.exists() else None
    if theirs in {None, ours, shipped.read_bytes() if shipped.exists() else None}:
        if theirs != ours:
            settings.write_bytes(ours)
        shipped.write_bytes(ours)
    return folder
