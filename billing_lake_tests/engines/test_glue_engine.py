"""The Glue engine: a request for each call, the answer or the error of the job, and what the run cost."""

from __future__ import annotations

import pytest

from billing_lake.domain import errors
from billing_lake.domain.profiles import Profile
from billing_lake.domain.sources import EncodedFile, EncodeTarget, Source
from billing_lake.engines.base import Log
from billing_lake.engines.glue_engine import GlueEngine, JobAnswer
from billing_lake.spark_job.requests import Reply, Request

SOURCE = Source(container="csv", compression="gzip", files=(), columns=())
TARGET = EncodeTarget(fields=(), constants={}, folder="s3://lake/staging/x", stem="x")
FACTS = {"glue_job_run": "jr_1"}


def engine(reply: Reply, asked: list[Request] | None = None) -> GlueEngine:
    def launch(request: Request, log: Log) -> JobAnswer:
        log(f"running {request.verb}")
        if asked is not None:
            asked.append(request)
        return JobAnswer(reply=reply, facts=FACTS)

    return GlueEngine(launch, lambda _: None)


def test_each_verb_is_one_request_and_returns_what_the_job_answers() -> None:
    asked: list[Request] = []
    profile, files = Profile(rows=3), (EncodedFile(uri="s3://lake/a", rows=3, size=9),)
    assert engine(Reply(profile=profile), asked).profile(SOURCE) == profile
    assert engine(Reply(files=files), asked).encode(SOURCE, TARGET) == files
    assert engine(Reply(files=()), asked).encode(SOURCE, TARGET) == ()
    both = Reply(profile=profile, files=files)
    assert engine(both, asked).convert(SOURCE, TARGET) == (profile, files)
    assert asked == [
        Request(verb="profile", source=SOURCE),
        *[Request(verb="encode", source=SOURCE, target=TARGET)] * 2,
        Request(verb="convert", source=SOURCE, target=TARGET),
    ]


def test_the_error_of_the_job_is_raised_as_it_is_and_its_cost_is_told() -> None:
    error = errors.RaggedRowError("A row has 3 cells", file="r.csv.gz", line=4)
    glue = engine(Reply(error=error))
    with pytest.raises(errors.RaggedRowError) as caught:
        glue.profile(SOURCE)
    assert caught.value is error
    assert glue.facts() == FACTS


def test_an_answer_to_another_question_is_an_error() -> None:
    with pytest.raises(errors.GlueJobError, match="`profile`"):
        engine(Reply(files=())).profile(SOURCE)
    with pytest.raises(errors.GlueJobError, match="`encode`"):
        engine(Reply(profile=Profile())).encode(SOURCE, TARGET)
    for half in (Reply(profile=Profile()), Reply(files=())):
        with pytest.raises(errors.GlueJobError, match="`convert`"):
            engine(half).convert(SOURCE, TARGET)


def test_the_facts_are_those_of_the_last_call() -> None:
    def launch(request: Request, _: Log) -> JobAnswer:
        if request.verb == "encode":
            raise errors.GlueJobError("No room")
        return JobAnswer(reply=Reply(profile=Profile()), facts=FACTS)

    glue = GlueEngine(launch)
    assert (glue.name, glue.facts()) == ("glue", {})
    glue.profile(SOURCE)
    assert glue.facts() == FACTS
    with pytest.raises(errors.GlueJobError):
        glue.encode(SOURCE, TARGET)
    assert glue.facts() == {}
