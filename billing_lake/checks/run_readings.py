"""Keeps what a run has read of the files of one table, for its other tables that hold the same bytes.

The tables of an export share the files of a load: as links on a disk, as copies in S3. What a file has in common with the others of the
same bytes (`Files.identity`) is asked for each file that a catalog names, every time; only bytes that this run has not read yet
are read. A table that names other files, one of them twice, or one that somebody wrote to in between, is read by itself. Nothing is kept for
another run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeVar

from billing_lake.domain.content import Content
from billing_lake.domain.profiles import Profile
from billing_lake.domain.quality import Quality
from billing_lake.domain.schemas import Column
from billing_lake.domain.sources import Source
from billing_lake.engines.base import Reader
from billing_lake.files.base import Files, Identity

FiguresT = TypeVar("FiguresT", Profile, Quality, Content)

_READINGS = 1024
"""Readings that are remembered in a process, some 10 kB each: three of each month of a backfill over decades."""


@dataclass(frozen=True)
class Reading(Generic[FiguresT]):
    """Holds what was read.

    Attributes:
        figures: What it adds up to.
        asset: The asset for whose table it was read.
    """

    figures: FiguresT
    asset: str


@dataclass(frozen=True, kw_only=True)
class RunReader:
    """Reads the files of one table in a run.

    Attributes:
        reader: Reads.
        files: Says which files are the same.
        run_id: The run.
        asset: The table's asset.
    """

    reader: Reader
    files: Files
    run_id: str
    asset: str

    def profile(self, source: Source) -> Reading[Profile]:
        """See `Reader.profile`."""
        return self._read("profile", source, (), lambda: self.reader.profile(source))

    def quality(self, source: Source, period: str) -> Reading[Quality]:
        """See `Reader.quality`."""
        return self._read("quality", source, period, lambda: self.reader.quality(source, period))

    def content(self, source: Source, columns: Sequence[Column]) -> Reading[Content]:
        """See `Reader.content`."""
        return self._read(
            "content", source, tuple(columns), lambda: self.reader.content(source, columns)
        )

    def shared(self, reading: Reading[Any]) -> str:
        """Return a note that the files were read for another table of the same bytes; empty where they were read for this one."""
        if reading.asset == self.asset:
            return ""
        return (
            f"The files that the table names are those of {reading.asset}, byte for byte, which this run has read, "
            "and no others"
        )

    def _read(
        self, what: str, source: Source, how: Any, read: Callable[[], FiguresT]
    ) -> Reading[FiguresT]:
        try:
            files = tuple(sorted(self.files.identity(file.uri) for file in source.files))
        except OSError:
            return Reading(read(), self.asset)  # which says better what is wrong with the file
        meaning = (source.columns, source.roles, source.costs)
        return _first(_Wanted(self.run_id, what, files, meaning, how, self.asset, read))


@dataclass(frozen=True)
class _Wanted:
    run_id: str
    what: str
    files: tuple[Identity, ...]
    meaning: tuple[Any, ...]
    how: Any
    asset: str = field(compare=False)
    read: Callable[[], Any] = field(compare=False)


@lru_cache(maxsize=_READINGS)
def _first(wanted: _Wanted) -> Reading[Any]:
    return Reading(wanted.read(), wanted.asset)
