"""Keeps pyiceberg from working out again what it knows of a table's metadata. Imported where it is used: pyiceberg is slow to load.

A load opens the same table some ten times, to see what others have done. The catalog says which metadata file counts, and is asked
each time; the file itself never changes under its name, and was read and parsed each time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.io import InputFile
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from billing_lake.files.base import Identity
from billing_lake.files.local import LocalFiles, local_path

_TABLES = 32
"""How many tables are known: some megabytes each after a thousand loads."""


def read_metadata_once(catalog: Catalog) -> None:
    """Have catalogs of the same kind as ``catalog`` read each metadata file once, and copy no schema and no snapshot."""
    module = vars(sys.modules[type(catalog).__module__])
    if module.get("FromInputFile") is FromInputFile:
        module["FromInputFile"] = _KnownFiles
    # pyiceberg copies all of the metadata with each change to it; of these there is one for each load, and they are frozen.
    for frozen in (Schema, Snapshot):
        frozen.__deepcopy__ = _itself  # type: ignore[assignment,method-assign]


def _itself(frozen: Any, _memo: object = None) -> Any:
    return frozen


class _KnownFiles:
    """Stands in place of pyiceberg's own function that reads metadata files."""

    @staticmethod
    def table_metadata(input_file: InputFile) -> TableMetadata:
        """Return the metadata in a file; it is not to be changed, as pyiceberg never does."""
        location = input_file.location
        is_here = local_path(location) is not None
        # On disk a lake may be moved away and another one put into its place.
        identity = LocalFiles().identity(location) if is_here else ()
        return _parsed(_Wanted(location, identity, input_file))


@dataclass(frozen=True)
class _Wanted:
    location: str
    identity: Identity
    file: InputFile = field(compare=False)


@lru_cache(maxsize=_TABLES)
def _parsed(wanted: _Wanted) -> TableMetadata:
    return FromInputFile.table_metadata(wanted.file)
