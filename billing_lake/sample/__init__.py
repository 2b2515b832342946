"""Writes realistic deliveries of legacy CUR, CUR 2.0 and FOCUS, for tests, demos and benchmarks.

Real reports cannot be shared, and hand-written rows never hold what breaks a loader: commitments that amortise over
thousands of rows, E-notation, colliding tags, line breaks inside cells. The generator makes all of them by seed, and
adds up what it writes, so that a test has figures that no reader had a hand in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing_lake.sample.own_samples import OwnSamples
from billing_lake.sample.spec import SampleDelivery, SampleSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["OwnSamples", "SampleDelivery", "SampleSpec", "write_delivery"]


def write_delivery(
    root: Path,
    period: str,
    spec: SampleSpec,
    *,
    restatement: int = 0,
    extra_tags: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
    own: OwnSamples | None = None,
) -> SampleDelivery:
    """Write one delivery of one month under `root`, whatever lies there; `OwnSamples.require` looks before.

    The same arguments write the same bytes. Memory does not grow with the number of rows.

    Args:
        root: The folder that stands for the bucket; made if it is not there.
        period: The billing period, `YYYY-MM`.
        spec: The export.
        restatement: 0 for the month's first delivery; n for its n-th restatement, which has the same rows with one
            service's costs corrected, new line-item ids, an invoice id, one report file fewer and a new assembly id.
        extra_tags: Tag columns that this delivery has in addition, as `user:Project`.
        progress: Called with the number of rows just written, after each batch.
        own: Learns of each file before it takes its name.

    Returns:
        What was written, with exact totals.

    Raises:
        ValueError: if `period`, `restatement`, `extra_tags` or the spec's columns make no sense.
    """
    from billing_lake.sample import deliveries
    from billing_lake.sample.renderers.files import note_nothing

    return deliveries.write_files(
        root,
        period,
        spec,
        restatement=restatement,
        extra_tags=extra_tags,
        progress=progress,
        note=note_nothing if own is None else own.note,
    )
