"""Errors that an operator can act on, and that carry nothing dangerous from outside."""

from __future__ import annotations

import inspect

import pytest

from billing_lake.domain import errors
from billing_lake.domain.errors import (
    BadValueError,
    BillingLakeError,
    DeliveryError,
    QueryError,
    ReportFileError,
    SchemaChangeError,
    shown,
)

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, BillingLakeError) and kind.__module__ == errors.__name__
]


def test_an_error_says_what_where_and_what_to_do() -> None:
    error = BadValueError(
        "The cell is no number", file="a.csv.gz", line=7, column="cost", value="1,5", remedy="Do it"
    )
    assert str(error) == (
        "The cell is no number (file a.csv.gz, line 7, column cost: '1,5'). Do it"
    )


def test_an_error_without_a_place_names_none() -> None:
    assert str(BillingLakeError("It is so")) == "It is so"
    assert str(BillingLakeError("It is so", value="")) == "It is so ('')"


@pytest.mark.parametrize("kind", ALL)
def test_every_error_can_be_raised_with_its_place_and_is_documented(
    kind: type[BillingLakeError],
) -> None:
    error = kind("It is so", file="f", line=1, column="c", value="v")
    assert "It is so (file f, line 1, column c: 'v')" in str(error)
    assert str(error).endswith(kind.remedy)
    assert kind.__doc__


def test_what_comes_from_outside_is_shortened_and_made_printable() -> None:
    error = BadValueError("Bad", value="\x1b[31m" + "x" * 20_000_000)
    assert len(str(error)) < 400
    assert str(error).isprintable()
    assert "20,000,005 characters" in str(error)


@pytest.mark.parametrize("text", ["\x00", "\n", "\u202e", "\ud800", "\x7f"])
def test_control_characters_are_written_out(text: str) -> None:
    assert shown(f"a{text}b").startswith("a\\x")
    assert shown(text).isprintable()


def test_what_may_pass_is_told_from_what_lies_in_the_delivery() -> None:
    lasting = {kind for kind in ALL if not kind.passes}
    in_delivery = {kind for kind in ALL if issubclass(kind, (DeliveryError, ReportFileError))}
    assert lasting - in_delivery == {BillingLakeError, SchemaChangeError, QueryError}
    assert {kind.__name__ for kind in in_delivery - lasting} == {
        "NoDeliveryError",
        "IncompleteDeliveryError",
        "UnsettledDeliveryError",
        "DeliveryChangedError",
        "UnreadableFileError",
        "UnusableFilesError",
        "RowsElsewhereError",
    }
