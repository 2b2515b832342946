"""The engine whose Spark runs elsewhere: each verb is one run of a Glue job.

It knows no AWS and no Dagster: it is given the function that runs a job, and turns what the job answers into what every other
engine would return or raise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from billing_lake.domain.errors import GlueJobError
from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import EncodedFile, EncodeTarget, Source
from billing_lake.engines.base import Log
from billing_lake.spark_job.requests import Reply, Request

_LOGGER = logging.getLogger(__name__)

Facts = Mapping[str, str | int | float]
"""What people should know about a call."""


@dataclass(frozen=True, kw_only=True)
class JobAnswer:
    """Holds what a run of the job brought.

    Attributes:
        reply: What the job reported.
        facts: Which run it was, and what it cost.
    """

    reply: Reply
    facts: Facts = field(default_factory=dict)


Launch = Callable[[Request, Log], JobAnswer]
"""Runs the job for one request and waits for its answer."""


@dataclass
class GlueEngine:
    """An `Engine` on a Glue job.

    Attributes:
        launch: Runs the job.
        log: Takes messages about the progress of the job.
    """

    launch: Launch
    log: Log = _LOGGER.info
    _facts: Facts = field(default_factory=dict, init=False, repr=False)

    @property
    def name(self) -> str:
        """Name for people."""
        return "glue"

    def profile(self, source: Source) -> Profile:
        """See `Engine.profile`.

        Raises:
            GlueJobError: The job could not be run, or did not answer.
        """
        reply = self._run(Request(verb="profile", source=source))
        if reply.profile is None:
            raise _unfitting("profile")
        return reply.profile

    def encode(self, source: Source, target: EncodeTarget) -> tuple[EncodedFile, ...]:
        """See `Engine.encode`.

        Raises:
            GlueJobError: As for `profile`; whoever chose the target's folder removes what a dead job left in it.
        """
        reply = self._run(Request(verb="encode", source=source, target=target))
        if reply.files is None:
            raise _unfitting("encode")
        return reply.files

    def convert(
        self, source: Source, target: EncodeTarget
    ) -> tuple[Profile, tuple[EncodedFile, ...]]:
        """See `Engine.convert`: one run of the job.

        Raises:
            GlueJobError: As for `encode`.
        """
        reply = self._run(Request(verb="convert", source=source, target=target))
        if reply.profile is None or reply.files is None:
            raise _unfitting("convert")
        return reply.profile, reply.files

    def facts(self) -> Facts:
        """See `Engine.facts`: the job's run, its seconds and what they cost."""
        return self._facts

    def _run(self, request: Request) -> Reply:
        self._facts = {}
        answer = self.launch(request, self.log)
        self._facts = answer.facts
        if answer.reply.error is not None:
            raise answer.reply.error
        return answer.reply


def _unfitting(verb: str) -> GlueJobError:
    what = f"The Glue job answered something else than was asked: `{verb}`"
    return GlueJobError(
        what, remedy="Give the job the script and the zip of this release (`make glue-package`)"
    )
