"""Keeps in the lake which billing periods report files state, so that no process reads a file again to find it.

A file that is pinned by its address and its content tag says the same for ever. Nothing depends on what is kept: where it is lost
or cannot be written, files are read again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from billing_lake.domain.deliveries import fingerprint_of_texts
from billing_lake.domain.periods import is_period

if TYPE_CHECKING:
    from billing_lake.files.base import FileInfo, Files

REPORT_FILES_FOLDER = "report_files"
"""Name of the folder, beside those of the exports."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StatedPeriods:
    """The billing periods that report files state, in files `<root>/<fingerprint>.json`."""

    root: str
    files: Files
    _held: list[tuple[str, bytes]] = field(default_factory=list, init=False, compare=False)
    _holding: list[bool] = field(default_factory=list, init=False, compare=False)

    @contextmanager
    def written_at_the_end(self) -> Iterator[None]:
        """Write what the block keeps when it ends, and nothing where it ends in an error: its user may not want a lake at all."""
        self._holding.append(True)
        try:
            yield
            for place, value in self._held:
                self._write(place, value)
        finally:
            self._holding.pop()
            self._held.clear()

    def periods(self, *pinned: str) -> tuple[str, ...] | None:
        """Return the billing periods of a file; None where they are not known.

        Args:
            pinned: All that what it states depends on: its address, its content tag, how it is read.
        """
        try:
            found = json.loads(self.files.read(self._place(pinned)))["periods"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        known = isinstance(found, list) and found and all(map(_is_period, found))
        return tuple(found) if known else None

    def keep(self, periods: tuple[str, ...], *pinned: str) -> None:
        """Keep the billing periods of a file."""
        value = {"format": 1, "file": pinned, "periods": periods}
        place, text = self._place(pinned), json.dumps(value, indent=1).encode()
        if self._holding:
            self._held.append((place, text))
        else:
            self._write(place, text)

    def _write(self, place: str, text: bytes) -> None:
        try:
            self.files.write(place, text)
        except OSError as error:
            _log.warning("What a report file states cannot be kept in %s: %s", place, error)

    def outdated(self, age: timedelta) -> list[FileInfo]:
        """Return what is kept about files that are gone, or have been written again, if it was kept longer ago than ``age``."""
        young = datetime.now(timezone.utc) - age
        by_address: dict[str, list[FileInfo]] = {}
        for one in self.files.list(self.root):
            try:
                address = json.loads(self.files.read(one.uri))["file"][0]
            except (OSError, ValueError, KeyError, TypeError, IndexError):
                address = ""
            by_address.setdefault(str(address), []).append(one)
        found: list[FileInfo] = []
        for address, kept in by_address.items():
            last = max(kept, key=lambda one: one.modified)
            found += kept if self._is_gone(address) else [one for one in kept if one != last]
        return [one for one in found if one.modified <= young]

    def _is_gone(self, address: str) -> bool:
        try:
            self.files.size(address)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return False

    def _place(self, pinned: tuple[str, ...]) -> str:
        return f"{self.root}/{fingerprint_of_texts(pinned)}.json"


def _is_period(value: object) -> bool:
    return isinstance(value, str) and is_period(value)
