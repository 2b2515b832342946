"""One delivery: the rows, shared out among report files, and then what commits them."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from billing_lake.sample import rows
from billing_lake.sample.renderers.cur2 import Cur2
from billing_lake.sample.renderers.focus import Focus
from billing_lake.sample.renderers.legacy_cur import LegacyCur
from billing_lake.sample.spec import SampleDelivery, month_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import polars as pl

    from billing_lake.sample.canonical import RowBlock
    from billing_lake.sample.renderers.files import Note
    from billing_lake.sample.spec import SampleMonth, SampleSpec


RENDERERS = {"legacy_cur": LegacyCur, "cur2": Cur2, "focus": Focus}
"""What writes the rows in each format."""


def write_files(
    root: Path,
    period: str,
    spec: SampleSpec,
    *,
    restatement: int,
    extra_tags: Sequence[str],
    progress: Callable[[int], None] | None,
    note: Note,
) -> SampleDelivery:
    """Write one delivery; see `billing_lake.sample.write_delivery`.

    Data files come first and the manifest last, as AWS does it: whoever sees a manifest finds the files it lists.
    """
    if restatement < 0:
        msg = f"restatement is {restatement}, but must be at least 0"
        raise ValueError(msg)
    month = month_of(period)
    renderer = RENDERERS[spec.format](
        root, month, spec, _delivered(month, spec.seed, restatement), restatement, extra_tags
    )
    root.mkdir(parents=True, exist_ok=True)
    sums: Counter[str] = Counter()
    made = rows.make_rows(spec, month, restatement, renderer.tags)
    waiting: Iterator[pl.DataFrame] = map(renderer.render, _counted(made, sums))
    count = len(renderer.files)
    edges = [number * spec.rows // count for number in range(count + 1)]
    for path, (first, last) in zip(renderer.files, pairwise(edges), strict=True):
        with renderer.report(path, note) as add:
            missing = last - first
            while missing:
                frame = next(waiting)
                piece, rest = frame.head(missing), frame.slice(missing)
                waiting = chain((rest,), waiting) if rest.height else waiting
                add(piece)
                missing -= piece.height
                if progress is not None:
                    progress(piece.height)
    manifest = renderer.commit(note)
    return SampleDelivery(
        period=period,
        version=renderer.version,
        files=tuple(renderer.files),
        manifest=manifest,
        rows=spec.rows,
        totals={spec.currency: renderer.totals(sums)} if sums else {},
    )


def _counted(blocks: Iterable[RowBlock], sums: Counter[str]) -> Iterator[RowBlock]:
    """Pass blocks on and add their money to `sums`."""
    for block in blocks:
        sums.update({name: int(amounts.values.sum()) for name, amounts in block.money.items()})
        yield block


def _delivered(month: SampleMonth, seed: int, restatement: int) -> datetime:
    """Return when the delivery was made: first while the month is open, then ever later after its end."""
    days = 2 + restatement if restatement else -3
    return month.end + timedelta(days=days, seconds=14_531 + seed * 61 % 3_600)
