"""Carries one request to a Glue job and its answer back, through a folder of S3, as Dagster Pipes lays them out.

Dagster's own readers of messages poll in threads: they lag behind a job that writes often, stop some seconds after its end, and
delay a cancelled run for as long. Here the thread that waits for the run reads. A run that has ended has written everything, so
reading until nothing is left loses nothing.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from botocore.exceptions import BotoCoreError, ClientError
from dagster_pipes import (
    PIPES_PROTOCOL_VERSION_FIELD,
    PipesBlobStoreMessageWriter,
    PipesContextData,
    PipesParams,
)

from billing_lake.aws.errors import Fault, credentials_error, error_text, fault_of
from billing_lake.aws.settings import variable_of
from billing_lake.domain.errors import ConfigurationError, GlueJobError
from billing_lake.engines.base import Log
from billing_lake.spark_job.requests import REPLY, Reply

_KEPT_CHARACTERS = 16_000


class GlueMessages(dg.PipesContextInjector, dg.PipesMessageReader):
    """The folder of one run, `s3://bucket/prefix`: the request goes in, messages come out.

    Args:
        client: boto3 client of S3.
        bucket: Name of the bucket.
        prefix: Folder in it, without a slash at its end; no other run may use it.
    """

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._s3 = client
        self._bucket = bucket
        self._prefix = prefix
        self._read = 0
        self._handler: Any = None
        self._output: deque[str] = deque()
        self.trouble = ""
        """What kept the last message from being read, in brackets."""

    @contextmanager
    def inject_context(self, context_data: PipesContextData) -> Iterator[PipesParams]:
        """Write the request.

        Raises:
            ConfigurationError: The bucket cannot be written to.
        """
        key = f"{self._prefix}/context.json"
        body = json.dumps(context_data).encode()
        try:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=body)
        except (BotoCoreError, ClientError) as error:
            what = f"Cannot write to the bucket {self._bucket}: {error_text(error)}"
            remedy = f"Set {variable_of('pipes_bucket')} to a bucket that may be written to"
            raise credentials_error(error) or ConfigurationError(what, remedy=remedy) from error
        yield {"bucket": self._bucket, "key": key}

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[PipesParams]:
        """Tell the job where to write messages; they are read by `read`."""
        self._handler = handler
        yield {
            "bucket": self._bucket,
            "key_prefix": f"{self._prefix}/messages",
            PipesBlobStoreMessageWriter.INCLUDE_STDIO_IN_MESSAGES_KEY: True,
        }

    def no_messages_debug_text(self) -> str:
        """Return where messages were looked for."""
        return f"Messages of the Glue job are expected below s3://{self._bucket}/{self._prefix}"

    def read(self) -> None:
        """Handle all that has come since the last time.

        Raises:
            CredentialsError: Nothing will be read any more.
        """
        while (chunk := self._next()) is not None:
            self._read += 1
            for line in chunk.split("\n"):
                self._handle(line)

    def reply(self) -> Reply | None:
        """Return the job's answer, if it gave one.

        Raises:
            GlueJobError: It cannot be understood.
        """
        messages = self._handler.get_custom_messages() if self._handler else ()
        found = [one[REPLY] for one in messages if isinstance(one, dict) and REPLY in one]
        if not found:
            return None
        try:
            return Reply.from_json(found[-1])
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            what = f"The Glue job's answer cannot be understood: {error_text(error)}"
            remedy = "Give the job the script and the zip of this release (`make glue-package`)"
            raise GlueJobError(what, remedy=remedy) from error

    def output(self) -> str:
        """Return the end of what the job printed, at most 16,000 characters."""
        return "".join(self._output).strip()

    def remove(self, log: Log) -> None:
        """Remove the folder; what cannot be removed is logged, and a lifecycle rule of the bucket takes it later."""
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}/"
            )
            for found in (one for page in pages for one in page.get("Contents", ())):
                self._s3.delete_object(Bucket=self._bucket, Key=found["Key"])
        except (BotoCoreError, ClientError) as error:
            log(f"s3://{self._bucket}/{self._prefix} could not be emptied: {error_text(error)}")

    def _next(self) -> str | None:
        key = f"{self._prefix}/messages/{self._read + 1}.json"
        try:
            with self._s3.get_object(Bucket=self._bucket, Key=key)["Body"] as body:
                return str(body.read().decode())
        except (BotoCoreError, ClientError) as error:
            if (named := credentials_error(error)) is not None:
                raise named from error
            if fault_of(error) is not Fault.MISSING:
                self.trouble = f" ({error_text(error)})"
        return None

    def _handle(self, line: str) -> None:
        try:
            message = json.loads(line)
        except json.JSONDecodeError:
            return
        if not isinstance(message, dict) or PIPES_PROTOCOL_VERSION_FIELD not in message:
            return
        if message.get("method") == "log_external_stream":
            # Dagster's handler complains of each line that comes after the job has closed its side, as the last ones do.
            self._print(message["params"])
        else:
            self._handler.handle_message(message)

    def _print(self, parameters: Mapping[str, Any]) -> None:
        text = str(parameters["text"])
        stream = sys.stderr if parameters.get("stream") == "stderr" else sys.stdout
        stream.write(text)
        self._output.append(text[-_KEPT_CHARACTERS:])
        while len(self._output) > 1 and sum(map(len, self._output)) > _KEPT_CHARACTERS:
            self._output.popleft()
