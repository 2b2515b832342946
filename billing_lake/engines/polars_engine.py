"""The embedded default: Polars in this process, streaming.

Fast enough that most organisations never need another; nothing to start, nothing to pay.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from billing_lake.domain.bill import FIGURES, Charges
from billing_lake.files.local import LocalFiles

if TYPE_CHECKING:
    from billing_lake.domain.bill import Bill, TagKeys
    from billing_lake.domain.content import Content
    from billing_lake.domain.ledger import Amount
    from billing_lake.domain.profiles import Profile
    from billing_lake.domain.quality import Quality
    from billing_lake.domain.schemas import Column
    from billing_lake.domain.sources import EncodedFile, EncodeTarget, Source
    from billing_lake.engines.base import Log
    from billing_lake.engines.polars_access import Access
    from billing_lake.files.base import Files

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class PolarsEngine:
    """An `Engine` and a `Reader` on Polars; Polars itself is imported with the first call.

    Attributes:
        log: Takes messages about the progress of the engine.
        files: Files by URI, for what this process reads and writes itself.
        options: Polars' `storage_options` for the same S3; None where all files are of this machine.
    """

    log: Log = _LOGGER.info
    files: Files = field(default_factory=LocalFiles)
    options: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Name for people."""
        return "polars"

    def profile(self, source: Source) -> Profile:
        """See `Engine.profile` and `Reader.profile`."""
        from billing_lake.engines.polars_parquet_profile import profile_parquet
        from billing_lake.engines.polars_profile import profile_reports
        from billing_lake.engines.polars_tables import profile_table

        if source.of_table:
            return profile_table(source, self._access)
        profile = profile_parquet if source.container == "parquet" else profile_reports
        return profile(source, self._access, self.log)

    def encode(self, source: Source, target: EncodeTarget) -> tuple[EncodedFile, ...]:
        """See `Engine.encode`."""
        from billing_lake.engines.polars_encode import encode_reports

        return encode_reports(source, target, self._access, self.log)

    def convert(
        self, source: Source, target: EncodeTarget
    ) -> tuple[Profile, tuple[EncodedFile, ...]] | None:
        """See `Engine.convert`."""
        from billing_lake.engines.csv_pass import convert_reports
        from billing_lake.engines.parquet_pass import convert_parquet

        convert = convert_parquet if source.container == "parquet" else convert_reports
        return convert(source, target, self._access, self.log)

    def facts(self) -> Mapping[str, str | int | float]:
        """See `Engine.facts`: nothing was started and nothing is paid."""
        return {}

    def quality(self, source: Source, period: str) -> Quality:
        """See `Reader.quality`."""
        from billing_lake.engines.polars_tables import table_quality

        return table_quality(source, period, self._access)

    def groups(
        self, source: Source, keys: Sequence[str | None], cost: str | None = None
    ) -> Mapping[tuple[str | None, ...], Amount]:
        """See `Reader.groups`."""
        from billing_lake.engines.polars_groups import table_groups

        return table_groups(source, keys, cost, self._access)

    def bill(
        self,
        source: Source,
        cost: str,
        charges: Charges = Charges(),  # noqa: B008 -- it never changes
        tags: Mapping[str, TagKeys | None] = MappingProxyType({}),
        figures: Collection[str] = FIGURES,
    ) -> Bill:
        """See `Reader.bill`."""
        from billing_lake.engines.polars_bill import table_bill

        return table_bill(source, cost, charges, tags, self._access, figures)

    def content(self, source: Source, columns: Sequence[Column]) -> Content:
        """See `Reader.content`."""
        from billing_lake.engines.polars_content import content_of_reports
        from billing_lake.engines.polars_tables import content_of_table

        content = content_of_table if source.of_table else content_of_reports
        return content(source, columns, self._access)

    def preview(self, source: Source, columns: Sequence[str], rows: int) -> list[dict[str, str]]:
        """See `Reader.preview`."""
        from billing_lake.engines.polars_tables import table_preview

        return table_preview(source, columns, rows, self._access)

    @property
    def _access(self) -> Access:
        from billing_lake.engines.polars_access import Access

        return Access(self.files, self.options)
