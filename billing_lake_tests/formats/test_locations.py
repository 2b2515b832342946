"""Where an export delivers to."""

from __future__ import annotations

import dataclasses

import pytest

from billing_lake.domain.errors import ConfigurationError
from billing_lake.formats.layouts import Loose
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake.formats.locations import ExportLocation


@pytest.mark.parametrize("prefix", ["a/b", "/a/b", "a/b/", "/a/b/"])
def test_slashes_around_a_prefix_mean_nothing(prefix: str) -> None:
    assert ExportLocation("cur", "overwrite", prefix, "r").rules.folder == "a/b/r/"
    assert ExportLocation("cur", "loose", prefix).rules.folder == "a/b/"


@pytest.mark.parametrize(
    ("prefix", "folders"),
    [("", ("",)), ("/", ("",)), ("a", ("a/",)), ("a/", ("a/",)), ("/a/", ("a/", "/a/"))],
)
def test_loose_files_are_looked_for_below_the_prefix_alone(
    prefix: str, folders: tuple[str, ...]
) -> None:
    assert ExportLocation("cur", "loose", prefix).rules.folders == folders


@pytest.mark.parametrize("prefix", ["", "/"])
def test_an_export_may_have_no_prefix(prefix: str) -> None:
    assert ExportLocation("cur", "overwrite", prefix, "r").rules.folder == "r/"
    assert ExportLocation("cur", "loose", prefix).rules.folder == ""


@pytest.mark.parametrize(
    ("layout", "prefix", "report"),
    [
        ("create-new", "billing", ""),
        ("overwrite", "billing", "a/b"),
        ("overwrite", "../x", "r"),
        ("loose", "a/./b", ""),
        ("loose", "a\\b", ""),
        ("loose", "a\0b", ""),
        ("overwrite", "a", ".."),
    ],
)
def test_a_location_that_is_no_folder_below_the_bucket_is_refused(
    layout: str, prefix: str, report: str
) -> None:
    with pytest.raises(ConfigurationError):
        ExportLocation("cur", layout, prefix, report)  # type: ignore[arg-type]


def test_a_layout_that_the_format_has_not_is_refused_with_those_that_it_has() -> None:
    loose_only = dataclasses.replace(LEGACY_CUR, name="bills", layouts={"loose": Loose})
    assert ExportLocation("cur", "loose", "a", format=loose_only).rules == Loose("a")
    with pytest.raises(
        ConfigurationError, match="layout create-new, which bills does not have"
    ) as caught:
        ExportLocation("cur", "create-new", "a", "r", format=loose_only)
    assert caught.value.how == "Choose one of: loose"
