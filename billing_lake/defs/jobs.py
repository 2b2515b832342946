"""Jobs that belong to no export."""

import dagster as dg

from billing_lake.jobs.s3_tables import s3_table_create, s3_table_delete


@dg.definitions
def jobs() -> dg.Definitions:
    """List them."""
    return dg.Definitions(jobs=[s3_table_create, s3_table_delete])
