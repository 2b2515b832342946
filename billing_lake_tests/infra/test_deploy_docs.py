"""The page about the deployment has the tables that the code makes, and its commands are those of the Makefile."""

from __future__ import annotations

import re

from billing_lake_infra.settings import settings_table

from billing_lake_tests.infra.stacks import ROOT

PAGE = (ROOT / "docs" / "deploy-on-aws.md").read_text(encoding="utf-8")


def test_the_page_has_the_table_of_settings() -> None:
    assert settings_table() in PAGE


def test_every_make_target_of_the_page_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = set(re.findall(r"`?make (infra-[a-z-]+)", PAGE))
    assert asked
    assert asked <= targets
