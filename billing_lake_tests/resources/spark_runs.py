"""Three runs on a lake with Spark, in a process of their own; what each saw is printed as a line of JSON.

Only a process that has no JVM yet shows when one is started and with which settings.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from billing_lake.deployments import Lake, open_lake

RUNS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "no engine": (["looks"], {}),
    "configured": (
        ["looks", "loads", "loads_more"],
        {"driver_memory": "700m", "spark_config": {"spark.sql.shuffle.partitions": 3}},
    ),
    "too late": (
        ["loads"],
        {"spark_config": {"spark.driver.memory": "2g", "spark.hush": "a secret"}},
    ),
}


def look(lake: Any) -> dict[str, Any]:
    """Look at this process, and at the session once there is one."""
    seen: dict[str, Any] = {"lake": type(lake).__name__, "pyspark": "pyspark" in sys.modules}
    if seen["pyspark"]:
        from pyspark import SparkContext

        context = SparkContext._active_spark_context
        seen["session"] = context is not None
    return seen


def load(lake: Any, log: Any) -> dict[str, Any]:
    """Start the session as an engine does, and look at it."""
    session = lake.spark.session(log)
    context = session.sparkContext
    jvm = context._jvm
    return look(lake) | {
        "application": context.applicationId,
        "made in Python": [row.n for row in session.createDataFrame([(1,)], "n int").collect()],
        "java": jvm.java.lang.System.getProperty("java.home"),
        "heap": jvm.java.lang.Runtime.getRuntime().maxMemory(),
        "conf": dict(context.getConf().getAll())
        | {name: session.conf.get(name) for name in ("spark.sql.shuffle.partitions",)},
    }


@dg.asset
def looks(billing_lake: dg.ResourceParam[Lake]) -> dict[str, Any]:
    return look(billing_lake)


@dg.asset
def loads(
    context: dg.AssetExecutionContext, billing_lake: dg.ResourceParam[Lake]
) -> dict[str, Any]:
    return load(billing_lake, context.log.info)


@dg.asset(deps=[loads])
def loads_more(
    context: dg.AssetExecutionContext, billing_lake: dg.ResourceParam[Lake]
) -> dict[str, Any]:
    return load(billing_lake, context.log.info)


def main() -> None:
    """Run them."""
    folder = Path(sys.argv[1])
    definitions = dg.Definitions(
        assets=[looks, loads, loads_more],
        resources={**open_lake().resources(), "io_manager": dg.mem_io_manager},
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        for name, (assets, config) in RUNS.items():
            result = job.execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(asset) for asset in assets],
                run_config={"resources": {"billing_lake_spark": {"config": config}}}
                if config
                else {},
            )
            log = [
                entry.user_message
                for entry in instance.all_logs(result.run_id)
                if entry.dagster_event is None
            ]
            saw = {asset: result.output_for_node(asset) for asset in assets}
            (folder / "saw.jsonl").open("a").write(
                json.dumps(
                    {"run": name, "saw": saw, "log": log, "java": os.environ.get("JAVA_HOME")}
                )
                + "\n"
            )


if __name__ == "__main__":
    main()
