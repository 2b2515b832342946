"""`billing-lake relocate`: make a copied, moved or restored lake one of its own where it is."""

from __future__ import annotations

import click


@click.command(short_help="Make a copied, moved or restored lake one of its own.")
def relocate() -> None:
    """Make the lake in BILLING_LAKE_HOME one of its own where it is now, after it was copied, moved or restored.

    Its catalogs, its Iceberg metadata with all snapshots and its values between assets name files by absolute path; they are
    written anew. The folder in which the lake was made is not touched. Stopped at any moment, it can be run again.
    """
    from billing_lake.commands.home import existing_lake, require_own_home
    from billing_lake.deployments import LocalLake
    from billing_lake.tables import relocation

    home = existing_lake(LocalLake(require_own_home())).home
    origins = relocation.relocate(home, lambda table: click.echo(f"relocated {table}", err=True))
    if origins:
        click.echo(
            f"This lake was made in {' and '.join(sorted(origins))}. It is now one of its own:"
        )
        click.echo(home)
    else:
        click.echo(f"This lake was made here, in {home}: there is nothing to do.")
