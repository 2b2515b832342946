"""Folders of the generations of local Hive-style tables: made, linked, and found when nothing refers to them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

from billing_lake.domain.sources import Encoded, PeriodKey
from billing_lake.files.local import changed_at, files_below, link_or_copy
from billing_lake.tables.base import EXPORT, PERIOD
from billing_lake.tables.data_files import naming_write_errors
from billing_lake.tables.hive_rows import Partition


class Generations:
    """The generations of all tables.

    Args:
        root: Folder of them: `<root>/billing.cur/billing_period=2025-03/<generation>`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def of_period(self, table: str, key: PeriodKey) -> Path:
        """Return the folder of a period's generations."""
        return self.root / table / f"{PERIOD}={key.period}"

    def new(self, table: str, key: PeriodKey) -> Path:
        """Make the folder of a new generation."""
        folder = self.of_period(table, key) / uuid.uuid4().hex
        with naming_write_errors(str(folder)):
            folder.mkdir(parents=True)
        return folder

    def holding(self, table: str, key: PeriodKey, encoded: Encoded) -> Path | None:
        """Return the generation folder in which all files lie, or None where they lie elsewhere."""
        folders = {Path(file.uri).parent for file in encoded.files}
        folder = folders.pop() if len(folders) == 1 else None
        return folder if folder and folder.parent == self.of_period(table, key) else None

    def visible(self, table: str, partitions: Mapping[PeriodKey, Partition]) -> dict[str, Path]:
        """Return the files that have rows, by their paths in the table's folder; no two generations share a name."""
        return {
            f"{PERIOD}={key.period}/{EXPORT}={key.export}/{one.location[:12]}-{file['name']}": (
                self.of_period(table, key) / one.location / file["name"]
            )
            for key, one in partitions.items()
            for file in one.files
            if file["rows"]
        }

    def link(self, table: str, other: str, partitions: Mapping[PeriodKey, Partition]) -> None:
        """Link the current generations of a table for the ``other`` one, which gets the same rows."""
        for key, partition in partitions.items():
            for file in files_below(self.of_period(table, key) / partition.location):
                target = self.of_period(other, key) / partition.location / file.name
                if not target.exists():
                    link_or_copy(file, target)

    def older_than(self, table: str, age: timedelta) -> list[Path]:
        """Return the generations in which nothing was written or linked for ``age``, in order of their folders."""
        young = datetime.now(timezone.utc) - age
        found = (self.root / table).glob(f"{PERIOD}=*/*")
        return sorted(one for one in found if one.is_dir() and not _is_changed_since(one, young))


def numbered_names(names: Collection[str]) -> tuple[str, ...]:
    """Return names that no two files share: `00001-part.parquet`; files of several folders may have one name."""
    return tuple(f"{number:05d}-{name}" for number, name in enumerate(names, start=1))


def _is_changed_since(folder: Path, moment: datetime) -> bool:
    try:
        return any(changed_at(path) > moment for path in (folder, *files_below(folder)))
    except FileNotFoundError:
        return True  # another clean-up, or a failed load, is removing it
