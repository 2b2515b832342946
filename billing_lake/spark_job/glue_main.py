"""The script of the Glue job: one request through Dagster Pipes, one reply back.

Glue starts it with arguments of its own beside those of Dagster Pipes; what it does not know it leaves alone. It needs what
every Glue 5 job has (Spark, boto3) and the project's own zip. A job that failed has said so in its reply and then ends with
an error, so that Glue's console does not show it as a success.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from billing_lake.domain.errors import BillingLakeError
from billing_lake.spark_job.program import convert, encode, profile
from billing_lake.spark_job.requests import EXTRA, REPLY, Reply, Request

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from billing_lake.spark_job.program import Log

_SECONDS_BETWEEN_MESSAGES = 2.0


def answer_request(spark: SparkSession, request: Request, log: Log) -> Reply:
    """Do what ``request`` asks; an error on purpose is an answer."""
    try:
        if request.target is None:
            return Reply(profile=profile(spark, request.source, log))
        if request.verb == "encode":
            return Reply(files=encode(spark, request.source, request.target, log))
        found, files = convert(spark, request.source, request.target, log)
        return Reply(profile=found, files=files)
    except BillingLakeError as error:
        return Reply(error=error)


def main() -> int:
    """Answer the request that Dagster Pipes brings; return the exit status."""
    from dagster_pipes import (
        PipesCliArgsParamsLoader,
        PipesS3ContextLoader,
        PipesS3MessageWriter,
        open_dagster_pipes,
    )

    client = _s3()
    with open_dagster_pipes(
        params_loader=PipesCliArgsParamsLoader(),  # type: ignore[no-untyped-call]
        context_loader=PipesS3ContextLoader(client=client),
        message_writer=PipesS3MessageWriter(client=client, interval=_SECONDS_BETWEEN_MESSAGES),
    ) as pipes:
        request = Request.from_json(pipes.extras[EXTRA])
        reply = answer_request(_session(), request, pipes.log.info)
        pipes.report_custom_message({REPLY: reply.to_json()})
    if reply.error is None:
        return 0
    # Glue shows the last line as the reason.
    sys.stderr.write(f"{type(reply.error).__name__}: {reply.error}\n")
    return 1


def _s3() -> Any:
    import boto3

    return boto3.client("s3")


def _session() -> SparkSession:
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


if __name__ == "__main__" and (status := main()):
    # Only a failure exits by itself: what Glue makes of `SystemExit: 0` is its own affair.
    sys.exit(status)
