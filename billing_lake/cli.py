"""The command line, `billing-lake`: a thin front door.

`--help` must answer at once, so nothing is imported here but click; each command imports what it needs when it runs.
"""

from __future__ import annotations

import click

from billing_lake import __version__
from billing_lake.commands.alerts import alerts
from billing_lake.commands.demo import demo
from billing_lake.commands.inspect import inspect_command
from billing_lake.commands.instance import dagster_home
from billing_lake.commands.load import load_command
from billing_lake.commands.months import months, restatements
from billing_lake.commands.query import query
from billing_lake.commands.relocate import relocate
from billing_lake.commands.sample import sample
from billing_lake.commands.terminal import PanelGroup


@click.group(cls=PanelGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="billing-lake")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(*, debug: bool) -> None:
    """Cloud billing exports as tables that a finance team can trust.

    The lake is the folder BILLING_LAKE_HOME, or ./lake where that is not set; as long as that is not there either, the demo's,
    ./lake-demo.
    """


main.add_command(alerts)
main.add_command(dagster_home)
main.add_command(demo)
main.add_command(inspect_command)
main.add_command(load_command)
main.add_command(months)
main.add_command(query)
main.add_command(relocate)
main.add_command(restatements)
main.add_command(sample)

if __name__ == "__main__":
    main()
