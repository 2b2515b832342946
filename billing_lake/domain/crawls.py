"""Crawls: what a delivery's columns are, and what its raw files add up to."""

from __future__ import annotations

from dataclasses import dataclass

from billing_lake.domain.deliveries import Delivery, fingerprint_of_texts
from billing_lake.domain.json_values import JsonValues
from billing_lake.domain.profiles import Profile
from billing_lake.domain.shared_columns import Merge
from billing_lake.domain.sources import Source


@dataclass(frozen=True, kw_only=True)
class Crawl(JsonValues):
    """A delivery, understood.

    Attributes:
        table: Name of the table over the raw files, made from export, period and version.
        source: Its files with their columns, as an engine takes them.
        merged: Header cells that share a column.
        profile: What the raw files add up to.
    """

    table: str
    delivery: Delivery
    source: Source
    merged: tuple[Merge, ...]
    profile: Profile

    @property
    def pinned(self) -> Source:
        """The source with the digest of each file's bytes, as far as the profile took them."""
        files = self.profile.files
        return self.source.with_digests({name: file.digest for name, file in files.items()})

    @property
    def content(self) -> str:
        """A fingerprint of the bytes that were profiled; empty where no digests were taken."""
        digests = [f"{file.name} {file.digest}" for file in self.pinned.files if file.digest]
        return fingerprint_of_texts(digests) if digests else ""


def crawled_table_name(export: str, period: str, version: str) -> str:
    """Return the name of the crawled table: the same for the same delivery, never that of another one."""
    return f"{export}_{period.replace('-', '_')}_{fingerprint_of_texts((version,))[:8]}_raw"
