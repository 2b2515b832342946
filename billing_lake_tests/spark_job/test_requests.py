"""What travels to a job and back is the same on both sides."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from dataclasses import Field as Attribute
from decimal import Decimal

import pytest

from billing_lake.domain import errors
from billing_lake.domain.profiles import FileProfile, Profile
from billing_lake.domain.schemas import Column, Field
from billing_lake.domain.sources import (
    EncodedFile,
    EncodeTarget,
    MapEntryColumn,
    PeriodRows,
    Roles,
    Source,
    SourceFile,
)
from billing_lake.domain.types import DECIMAL, STRING, Map
from billing_lake.spark_job.requests import Reply, Request

SOURCE = Source(
    container="csv",
    compression="gzip",
    files=(SourceFile(uri="s3://b/k.csv.gz", name="k.csv.gz", columns=("a", "a", "b")),),
    columns=(Column("a", STRING), Column("b", DECIMAL)),
)
FILE = SourceFile(
    uri="s3://b/ä k+1.parquet",
    name="ä k+1.parquet",
    columns=("a", "m"),
    lifted=(MapEntryColumn("a", "m", 'x"y'),),
    only=PeriodRows("start", "2025-03"),
    digest="0a",
)
EVERYTHING = Source(
    container="csv",
    compression="zip",
    files=(FILE, FILE),
    columns=(Column("a", STRING), Column("m", Map(STRING, DECIMAL))),
    roles=Roles(**{one.name: f"column of {one.name}" for one in fields(Roles)}),
    costs=("a", "b"),
    nulls=("", "NULL"),
)
"""A source that states everything that there is to state."""

TARGET = EncodeTarget(
    fields=(Field("a", STRING, 1),), constants={"x": "y"}, folder="s3://b/out", stem="load"
)
TOTALS = {"USD": {"cost": Decimal("1E-18")}}
PROFILE = Profile(
    rows=2,
    totals=TOTALS,
    first_usage="2025-03-01T00:00:00+00:00",
    periods={"2025-03": 2},
    rounded={"cost": 1},
    files={"k.csv.gz": FileProfile(rows=2, totals=TOTALS, periods={"2025-03": 2})},
)

FILE_WRITTEN = EncodedFile(uri="s3://b/out/load.parquet", rows=3, size=9)


@pytest.mark.parametrize(
    "request_",
    [
        Request(verb="profile", source=SOURCE),
        Request(verb="profile", source=EVERYTHING),
        Request(verb="encode", source=SOURCE, target=TARGET),
        Request(verb="convert", source=EVERYTHING, target=TARGET),
    ],
)
def test_a_request_arrives_as_it_was_sent(request_: Request) -> None:
    assert Request.from_json(json.loads(json.dumps(request_.to_json()))) == request_


def default(attribute: Attribute[object]) -> object:
    factory = attribute.default_factory
    return attribute.default if factory is MISSING else factory()


def test_nothing_that_a_source_may_state_is_left_out_above() -> None:
    for stated in (EVERYTHING, FILE, EVERYTHING.roles):
        for attribute in fields(stated):
            assert getattr(stated, attribute.name) != default(attribute), attribute.name


@pytest.mark.parametrize(
    "reply",
    [
        Reply(profile=PROFILE),
        Reply(profile=Profile()),
        Reply(files=()),
        Reply(files=(FILE_WRITTEN,)),
        Reply(profile=PROFILE, files=(FILE_WRITTEN,)),
        Reply(profile=Profile(), files=()),
    ],
)
def test_a_reply_arrives_as_it_was_sent(reply: Reply) -> None:
    assert Reply.from_json(json.loads(json.dumps(reply.to_json()))) == reply


@pytest.mark.parametrize(
    "error",
    [
        errors.BadValueError("No number", file="f", line=3, column="c", value="ten"),
        errors.ReportFileError("Unreadable", remedy="Repair it", file="f"),
        errors.StorageWriteError("Full"),
        errors.TableError("Gone", file="x"),
    ],
)
def test_an_error_is_the_same_exception_with_the_same_place(
    error: errors.BillingLakeError,
) -> None:
    found = Reply.from_json(json.loads(json.dumps(Reply(error=error).to_json()))).error
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert found is not None
    assert (found.file, found.line, found.column, found.value, found.how) == (
        error.file,
        error.line,
        error.column,
        error.value,
        error.how,
    )


def test_a_class_that_is_not_ours_is_never_looked_up() -> None:
    value = Reply(error=errors.LoadError("x")).to_json()
    value["error"]["class"] = "SystemExit"
    assert type(Reply.from_json(value).error) is errors.BillingLakeError


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="encode"):
        Request(verb="encode", source=SOURCE)
    with pytest.raises(ValueError, match="convert"):
        Request(verb="convert", source=SOURCE)
    with pytest.raises(ValueError, match="profile"):
        Request(verb="profile", source=SOURCE, target=TARGET)
    with pytest.raises(ValueError, match="no verb"):
        Request(verb="drop", source=SOURCE)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="A reply"):
        Reply()
    with pytest.raises(ValueError, match="A reply"):
        Reply(files=(), error=errors.LoadError("x"))
