"""Lists the files of a folder that are samples: nothing else is ever written over, and samples never lie among a real bill's files.

The folder keeps a hidden list of the checksums of all samples that were written below it. A file's checksum is noted before
the file takes its name, so that a kill at any moment leaves no sample that the list lacks.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from billing_lake.domain.errors import ConfigurationError
from billing_lake.formats.keys import OWN_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK_BYTES = 1 << 20


class OwnSamples:
    """The samples of one top folder of a landing folder.

    Args:
        root: The landing folder.
        prefix: The prefix of the export; its first folder is looked after, or all of ``root`` where it is empty.
    """

    def __init__(self, root: Path, prefix: str) -> None:
        self.folder = root / prefix.strip("/").partition("/")[0]

    def require(self) -> None:
        """Make sure that every file in the folder is a sample.

        Raises:
            ConfigurationError: One is not.
        """
        listed = self.folder / OWN_SAMPLES
        known = frozenset(listed.read_bytes().split()) if listed.exists() else frozenset()
        for path in self._files():
            if not path.is_file() or _checksum(path) not in known:
                what = "Samples are not written here: there is a file that is no sample"
                remedy = "Choose a folder without files of your own"
                raise ConfigurationError(what, file=str(path), remedy=remedy)

    def note(self, file: Path) -> None:
        """Add a file to the list, before it takes its name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / OWN_SAMPLES).open("ab") as listed:
            listed.write(_checksum(file) + b"\n")

    def _files(self) -> Iterator[Path]:
        """Go through what a load would see: no hidden files, and nothing in hidden folders."""
        for path in sorted(self.folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(self.folder).parts)
            if not hidden and not path.is_dir():
                yield path


def _checksum(path: Path) -> bytes:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            found.update(block)
    return found.hexdigest().encode()
