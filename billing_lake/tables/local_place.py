"""Check that the folder of a lake on this machine is the one in which its tables are catalogued.

Iceberg names files by absolute path. A lake that was copied or moved would therefore go on reading and writing the folder in
which it was made, so that folder is noted in `catalog/lake.json`, and compared each time a lake is opened. The paths in the
catalogs are compared too: the note may be lost, and a restored catalog may belong to another lake.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from billing_lake.domain.errors import ConfigurationError, TableError, shown
from billing_lake.files.local import LocalFiles

ICEBERG_CATALOGS = ("iceberg", "s3tables")
"""The Iceberg catalogs of a lake, each a SQLite file and a folder of the warehouse."""

_FORMAT = 1
_LOCK_TIMEOUT_SECONDS = 60.0


def require_made_here(home: Path) -> None:
    """Make sure that the lake in ``home`` was made there, or moved there by `relocate`; note it where that is not noted yet.

    Raises:
        ConfigurationError: It was made elsewhere; opened here, it would be read and written there.
        TableError: The note is unreadable, or of a later release.
    """
    others = other_homes(home)
    if others:
        places = " and ".join(sorted(shown(other, 400) for other in others))
        what = f"This lake is a copy, or was moved: its tables are catalogued in {places}"
        remedy = "Open the lake there, move it back, or run `billing-lake relocate`, which makes it a lake of its own here"
        raise ConfigurationError(what, file=str(home), remedy=remedy)
    if not _note(home).exists():
        note_home(home)


def other_homes(home: Path) -> set[str]:
    """Return the folders other than ``home`` that the lake's note and catalogs name."""
    places = {place for name in ICEBERG_CATALOGS for place in _catalogued(home, name)}
    noted = _noted(home)
    if noted is not None:
        places.add(noted)
    return {place for place in places if not _is_same(place, home)}


def note_home(home: Path) -> None:
    """Note that the lake in ``home`` was made there."""
    text = json.dumps({"format": _FORMAT, "home": str(home)}, indent=1)
    LocalFiles().write(str(_note(home)), text.encode())


def home_of(location: str, catalog: str) -> str | None:
    """Return the home of the lake in whose warehouse a file of ``catalog`` lies; None where it lies in none."""
    home, marker, _ = location.removeprefix("file://").rpartition(f"/warehouse/{catalog}/")
    return home if marker else None


def _note(home: Path) -> Path:
    return home / "catalog" / "lake.json"


def _noted(home: Path) -> str | None:
    path = _note(home)
    try:
        note: Any = json.loads(path.read_bytes())
        known = note["format"] == _FORMAT
        place = str(note["home"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OSError) as error:
        what = f"The note of where this lake was made cannot be read: {shown(error)}"
        remedy = "Restore the file; without it only the catalogs are compared"
        raise TableError(what, file=str(path), remedy=remedy) from error
    if not known:
        what = f"This lake has format {shown(note['format'])}, and this release knows {_FORMAT}"
        raise TableError(
            what, file=str(path), remedy="Use the release that made it, or a later one"
        )
    return place


def _catalogued(home: Path, name: str) -> set[str]:
    database = home / "catalog" / f"{name}.db"
    if not database.exists():
        return set()
    try:
        uri = f"file:{quote(str(database))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_LOCK_TIMEOUT_SECONDS)) as opened:
            found = opened.execute("SELECT metadata_location FROM iceberg_tables").fetchall()
    except sqlite3.Error:
        # Not made yet, or broken: that is named when the catalog is opened, and no other folder is written to.
        return set()
    return {place for (location,) in found if (place := home_of(location or "", name)) is not None}


def _is_same(place: str, home: Path) -> bool:
    """Say whether both are one folder, whatever links and mounts lead there."""
    try:
        return place == str(home) or home.samefile(place)
    except OSError:
        return False
