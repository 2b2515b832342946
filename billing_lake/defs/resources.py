"""What every definition is given: the lake, and how a run is executed."""

import dagster as dg

from billing_lake.deployments import open_lake


@dg.definitions
def resources() -> dg.Definitions:
    """Open the lake of the chosen deployment."""
    lake = open_lake()
    return dg.Definitions(
        resources=lake.resources(),
        # A process for each step costs more than most steps do; what runs side by side are billing periods.
        executor=dg.in_process_executor,
    )
