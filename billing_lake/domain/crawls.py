"""Crawls: what a delivery's columns are, and what its raw files add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from billing_lake.domain.deliveries import Delivery, fingerprint
from billing_lake.domain.profiles import Profile
from billing_lake.domain.shared_columns import Merge
from billing_lake.domain.sources import Source


@dataclass(frozen=True, kw_only=True)
class Crawl:
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
        return fingerprint(digests) if digests else ""

    def to_json(self) -> dict[str, Any]:
        """Return the crawl as JSON values."""
        return {
            "table": self.table,
            "delivery": self.delivery.to_json(),
            "source": self.source.to_json(),
            "merged": [asdict(merge) for merge in self.merged],
            "profile": self.profile.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Crawl:
        """Read what `to_json` wrote."""
        return cls(
            table=value["table"],
            delivery=Delivery.from_json(value["delivery"]),
            source=Source.from_json(value["source"]),
            merged=tuple(Merge(merge["name"], tuple(merge["raw"])) for merge in value["merged"]),
            profile=Profile.from_json(value["profile"]),
        )


def crawled_table_name(export: str, period: str, version: str) -> str:
    """Return the name of the crawled table: the same for the same delivery, never that of another one."""
    return f"{export}_{period.replace('-', '_')}_{fingerprint((version,))[:8]}_raw"
