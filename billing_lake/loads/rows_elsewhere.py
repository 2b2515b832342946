"""Find rows of a billing period in the loose files of another one, before anything is loaded without them.

The first row of a loose file says for which period it is read, so a file that begins with March and goes on with April
belongs to March, where its profile refuses it. April would be short of these rows, and nothing in its own files shows it.
So the load of a loose period looks at the others' files too, once: what was seen to hold rows of its own period alone is
remembered, and not read again until it changes. Formats whose files may hold rows of several periods need none of this: there every
row is looked at before anything is a delivery.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from billing_lake.deployments.base import Lake
from billing_lake.domain.deliveries import Delivery
from billing_lake.domain.errors import (
    ReportFileError,
    RowsElsewhereError,
    StorageWriteError,
    UnusableFilesError,
    counted,
)
from billing_lake.engines.base import Engine, Log
from billing_lake.formats.layouts import Loose
from billing_lake.formats.locations import ExportLocation
from billing_lake.landing.deliveries import read_periods
from billing_lake.landing.loose import other_periods

_SEEN = "loose_files_of_one_period"

_logger = logging.getLogger(__name__)


def refuse_rows_elsewhere(
    lake: Lake, engine: Engine, location: ExportLocation, delivery: Delivery, log: Log
) -> None:
    """Refuse a loose delivery of which rows lie in files that begin with another period.

    Args:
        lake: The lake.
        engine: What reads the files that no load has seen as a whole.
        location: The export.
        delivery: A delivery whose own files hold rows of its period alone.
        log: Takes messages about what is read.

    Raises:
        RowsElsewhereError: There are such rows.
        UnusableFilesError: A file that could hold some cannot be read to its end.
    """
    if not isinstance(location.rules, Loose) or location.format.mixes_periods:
        return
    key = (location.name, _SEEN)
    seen = {*lake.values.periods(key)}
    if delivery.identity not in seen:
        lake.values.write(key, delivery.identity, delivery)
    others = other_periods(lake.storage, location, delivery.period)
    _forget(lake, key, seen - {delivery.identity, *(one.identity for one in others)})
    for other in others:
        if other.identity not in seen:
            log(f"{delivery.period}: looking for its rows in the files of {other.period}")
            if _look_into(lake, engine, location, other, delivery.period):
                lake.values.write(key, other.identity, other)


def _forget(lake: Lake, key: tuple[str, str], gone: Iterable[str]) -> None:
    """Forget deliveries that lie in the folder no more: each restatement leaves one."""
    try:
        for identity in gone:
            lake.values.remove(key, identity)
    except StorageWriteError as error:
        _logger.warning("could not forget a delivery that is gone: %s", error)


def _look_into(
    lake: Lake, engine: Engine, location: ExportLocation, other: Delivery, period: str
) -> bool:
    """Say whether all rows of ``other`` are of its own period; refuse rows of ``period``."""
    try:
        profile = engine.profile(read_periods(lake.storage, other, location.format))
    except ReportFileError as error:
        what = f"A file of {other.period} could hold rows of {period} and cannot be read to its end: {error}"
        raise UnusableFilesError(what, file=error.file) from error
    for name, file in profile.files.items():
        if period in file.periods:
            what = (
                f"A file that begins with {other.period} holds {counted(file.periods[period], 'row')} of {period}, which would be "
                "loaded without them"
            )
            raise RowsElsewhereError(what, file=name)
    return {*profile.periods} <= {other.period}
