"""Dagster Pipes with a Glue job, without what hurts: messages are read by the one thread that waits for the run.

Dagster's readers poll from threads of their own: these lag behind a job that writes often, give up some seconds after its
end, and hold up a cancelled run for as long. A run that has ended has written all it had to say, so reading until
there is nothing left loses nothing and waits for nothing. What travelled through the bucket is removed afterwards,
which Dagster does for half of it, and for none after a failure.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import dagster as dg
from botocore.exceptions import BotoCoreError, ClientError
from dagster_aws.pipes import PipesGlueClient, PipesS3ContextInjector, PipesS3MessageReader
from dagster_pipes import (
    PIPES_PROTOCOL_VERSION_FIELD,
    PipesBlobStoreMessageWriter,
    PipesContextData,
    PipesParams,
)

from billing_lake.domain.errors import ConfigurationError, GlueJobError, shown
from billing_lake.engines.base import Log
from billing_lake.resources.glue_run_facts import advice
from billing_lake.resources.glue_runs import GlueRuns
from billing_lake.spark_job.requests import REPLY, Reply

_KEPT_OUTPUT = 16_000
_MESSAGE = 500


class GlueContext(PipesS3ContextInjector):
    """Writes the request to S3, and names the setting where that fails."""

    @contextmanager
    def inject_context(self, context: PipesContextData) -> Iterator[PipesParams]:
        """See `PipesContextInjector`.

        Raises:
            ConfigurationError: The bucket cannot be written to.
        """
        with ExitStack() as stack:
            try:
                parameters = stack.enter_context(super().inject_context(context))
            except (BotoCoreError, ClientError) as error:
                what = f"Cannot write to the bucket {self.bucket}: {shown(error, _MESSAGE)}"
                raise ConfigurationError(
                    what, remedy="Set BILLING_LAKE_PIPES_BUCKET to a bucket that may be written to"
                ) from error
            yield parameters


class GlueMessages(PipesS3MessageReader):
    """Reads the messages of one run when told to.

    Args:
        bucket: Where they come.
        prefix: Below which key; no other run may write there.
        client: boto3 client of S3.
    """

    def __init__(self, *, bucket: str, prefix: str, client: Any) -> None:
        super().__init__(bucket=bucket, client=client, include_stdio_in_messages=True)
        self._prefix = prefix
        self._handler: Any = None
        self._output: deque[str] = deque()
        self._trouble: str | None = None

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[PipesParams]:
        """See `PipesMessageReader`; nothing is read before `read`."""
        self._handler = handler
        yield {
            "bucket": self.bucket,
            "key_prefix": self._prefix,
            PipesBlobStoreMessageWriter.INCLUDE_STDIO_IN_MESSAGES_KEY: True,
        }

    def read(self) -> None:
        """Handle all that has come since the last time."""
        while chunk := self._next():
            self.counter += 1
            for line in chunk.split("\n"):
                self._handle(line)

    def reply(self) -> Reply | None:
        """Return the job's answer, if it gave one.

        Raises:
            GlueJobError: It cannot be understood.
        """
        found = [
            message[REPLY]
            for message in (self._handler.get_custom_messages() if self._handler else ())
            if isinstance(message, dict) and REPLY in message
        ]
        if not found:
            return None
        try:
            return Reply.from_json(found[-1])
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            what = f"The Glue job's answer cannot be understood: {shown(error, _MESSAGE)}"
            raise GlueJobError(
                what,
                remedy="Give the job the script and the zip of this release (`make glue-package`)",
            ) from error

    def output(self) -> str:
        """Return the end of what the job printed."""
        return "".join(self._output).strip()

    def trouble(self) -> str:
        """Return what kept messages from being read, in brackets; nothing where there was nothing."""
        return f" ({self._trouble})" if self._trouble else ""

    def _next(self) -> str | None:
        key = f"{self._prefix}/{self.counter}.json"
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
            return cast("str", answer["Body"].read().decode())
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                self._trouble = shown(error, _MESSAGE)
        except BotoCoreError as error:
            self._trouble = shown(error, _MESSAGE)
        return None

    def _handle(self, line: str) -> None:
        try:
            message = json.loads(line)
        except json.JSONDecodeError:
            return
        if not isinstance(message, dict) or PIPES_PROTOCOL_VERSION_FIELD not in message:
            return
        if message.get("method") == "log_external_stream":
            # Not by Dagster's handler: the last lines come after the job has closed its side, and it complains of each.
            self._print(message["params"])
        else:
            self._handler.handle_message(message)

    def _print(self, parameters: Mapping[str, Any]) -> None:
        text = str(parameters["text"])
        stream = sys.stderr if parameters.get("stream") == "stderr" else sys.stdout
        stream.write(text)
        self._output.append(text[-_KEPT_OUTPUT:])
        while len(self._output) > 1 and sum(map(len, self._output)) > _KEPT_OUTPUT:
            self._output.popleft()


class GlueClient(PipesGlueClient):
    """Dagster's client, with its waiting and stopping done by `GlueRuns`.

    Args:
        runs: Starts, watches and stops the run.
        context: Sends the request.
        messages: Receives the answer.
    """

    def __init__(self, runs: GlueRuns, context: GlueContext, messages: GlueMessages) -> None:
        # Stopping is not left to Dagster's client: it covers one kind of interruption, and stumbles where Glue refuses.
        super().__init__(
            context_injector=context,
            message_reader=messages,
            client=cast("Any", runs),
            forward_termination=False,
        )
        self._runs = runs
        self._messages = messages

    def _wait_for_job_run_completion(self, job_name: str, run_id: str) -> Any:
        run = self._runs.wait(run_id, self._messages.read)
        self._messages.read()
        if run["JobRunState"] == "SUCCEEDED":
            return {"JobRun": run}
        # Raised here, so that Dagster's client need not know every way in which a run can end.
        said = shown(
            run.get("ErrorMessage") or run.get("StateDetail") or "Glue gives no reason", _MESSAGE
        )
        what = f"Glue run {run_id} of job {job_name} ended as {run['JobRunState']}: {said}"
        raise GlueJobError(what, remedy=advice(self._runs.settings, run_id))


class StepView:
    """A step's context for Pipes, which otherwise expects the step to return nothing but what the job reports.

    The lake's assets return values of their own; a job is only their tool.
    """

    def __init__(self, context: dg.OpExecutionContext) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def set_requires_typed_event_stream(self, *, error_message: str | None = None) -> None:
        """Require nothing."""


@contextmanager
def emptied(client: Any, bucket: str, prefix: str, log: Log) -> Iterator[None]:
    """Remove what lies below a prefix when the block is left; what cannot be removed is logged."""
    try:
        yield
    finally:
        try:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for page in pages:
                for found in page.get("Contents", ()):
                    client.delete_object(Bucket=bucket, Key=found["Key"])
        except (BotoCoreError, ClientError) as error:
            log(f"s3://{bucket}/{prefix} could not be emptied: {shown(error, _MESSAGE)}")
