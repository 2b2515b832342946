"""The embedded default: Polars in this process, streaming.

Fast enough that most organisations never need another; nothing to start, nothing to pay.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from billing_lake.domain.profiles import Profile
    from billing_lake.domain.quality import Quality
    from billing_lake.domain.sources import EncodedFile, EncodeTarget, Source
    from billing_lake.engines.base import Log

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class PolarsEngine:
    """An `Engine` and a `Reader` on Polars; Polars itself is imported with the first call."""

    log: Log = _LOGGER.info

    @property
    def name(self) -> str:
        """Name for people."""
        return "polars"

    def profile(self, source: Source) -> Profile:
        """See `Engine.profile` and `Reader.profile`."""
        from billing_lake.engines.polars_profile import profile_reports
        from billing_lake.engines.polars_tables import profile_table

        return (
            profile_table(source)
            if source.format == "parquet"
            else profile_reports(source, self.log)
        )

    def encode(self, source: Source, target: EncodeTarget) -> tuple[EncodedFile, ...]:
        """See `Engine.encode`."""
        from billing_lake.engines.polars_encode import encode_reports

        return encode_reports(source, target, self.log)

    def facts(self) -> Mapping[str, str | int | float]:
        """See `Engine.facts`: nothing was started and nothing is paid."""
        return {}

    def quality(self, source: Source, period: str) -> Quality:
        """See `Reader.quality`."""
        from billing_lake.engines.polars_tables import table_quality

        return table_quality(source, period)

    def preview(self, source: Source, columns: Sequence[str], rows: int) -> list[dict[str, str]]:
        """See `Reader.preview`."""
        from billing_lake.engines.polars_tables import table_preview

        return table_preview(source, columns, rows)
