"""Tables know no engine: what one has fed, another goes on with and proves. Spark here: `deployments/test_local_spark`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import dagster as dg

from billing_lake_tests.assets.test_load import assert_tables_equal, metadata
from billing_lake_tests.aws_lakes import SampleLakeOnAws
from billing_lake_tests.lakes import CHECKS, failed, verdicts


def assert_proved(result: dg.ExecuteInProcessResult) -> None:
    assert result.success
    found = verdicts(result)
    assert len(found) == CHECKS
    assert failed(found) == []


def test_polars_and_glue_take_turns_in_one_lake_on_aws(
    make_aws_lake: Callable[..., SampleLakeOnAws],
) -> None:
    polars = make_aws_lake("polars")
    assert polars.bucket
    assert polars.warehouse
    by_glue = replace(polars, engine="glue")
    # The same buckets: they are made when they are first asked for.
    vars(by_glue).update(bucket=polars.bucket, warehouse=polars.warehouse)
    vars(by_glue)["variables"] = {**polars.variables, "BILLING_LAKE_ENGINE": "glue"}
    january = polars.deliver("2025-01")
    assert_proved(by_glue.load("2025-01"))
    assert_tables_equal(polars, january)
    january = polars.deliver("2025-01", restatement=1)
    assert_proved(polars.load("2025-01"))
    february = polars.deliver("2025-02", extra_tags=("user:Project",))
    result = by_glue.load("2025-02")
    assert_proved(result)
    assert (
        metadata(result, "iceberg_table")["encoded"]
        == "for hive_table, whose files this table shares"
    )
    assert_tables_equal(polars, january, february)
