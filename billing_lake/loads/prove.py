"""Prove files of a table: read them back as a reader does, and compare them with what the raw files add up to."""

from __future__ import annotations

from billing_lake.deployments.base import Lake
from billing_lake.domain.crawls import Crawl
from billing_lake.domain.errors import ProofError, in_words
from billing_lake.domain.profiles import compare
from billing_lake.domain.sources import Source
from billing_lake.tables.exports import Export

_SHOWN_DIFFERENCES = 5


def prove(lake: Lake, export: Export, crawl: Crawl, files: Source) -> None:
    """Make sure that Parquet files of a table hold what the delivery of ``crawl`` holds, to the last digit.

    Raises:
        ProofError: A figure differs.
        TableError: A file is missing or unreadable.
    """
    found = lake.reader.profile(export.format.with_roles(files))
    differences = compare(crawl.profile, found)
    if differences:
        what = f"The files do not equal the delivery of {crawl.delivery.period}"
        raise ProofError(f"{what}: {in_words(differences, _SHOWN_DIFFERENCES, '; ')}")
