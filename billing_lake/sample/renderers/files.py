"""Text of CSV files as AWS writes it, and files that appear under their names only when they are complete."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

from isal import igzip_threaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Note = Callable[[Path], None]

GZIP_LEVEL = 1
_SPECIAL = re.compile(r'[",\r\n]')


def csv_line(cells: Iterable[str]) -> str:
    """Join cells as a piece of a CSV line, quoted only where they must be."""
    return ",".join(
        '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text for text in cells
    )


def note_nothing(_: Path) -> None:
    """Note nothing."""


@contextmanager
def gzip_writer(path: Path, note: Note) -> Iterator[IO[bytes]]:
    """Open a stream into a gzip that appears when it is complete; it is compressed in another thread."""
    with appear_when_complete(path, note) as hidden:
        stream = igzip_threaded.open(hidden, "wb", compresslevel=GZIP_LEVEL, threads=1)  # type: ignore[no-untyped-call]
        with stream:
            yield cast("IO[bytes]", stream)


@contextmanager
def appear_when_complete(path: Path, note: Note) -> Iterator[Path]:
    """Name a hidden file that becomes `path` at the end, or goes away when something fails; `note` sees it before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.partial")
    try:
        yield hidden
        note(hidden)
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)
