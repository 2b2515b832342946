"""A delivery as a Glue table over its raw files: which files, which columns, and how Athena parses them.

Every column is a *string*, with the dictionary's type in its comment, although the types are known: Athena reads quoted CSV
only through OpenCSVSerDe, which takes no DECIMAL and no ISO timestamp, and fails on the first empty number. So a column
declared with its true type could not be read, and as text it is what the provider wrote. To calculate, cast it:
`TRY_CAST(NULLIF(a_cost, '') AS DECIMAL(38, 18))`. No CSV reader of Athena takes line breaks within a cell; the
engines do, and the tables of the lake are loaded from the files, never through this table.

Parquet has types, and the columns those of its first file. No reader of Glue's tables unpacks ZIP: such a table shows the columns,
and no rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from billing_lake.domain.crawls import Crawl
from billing_lake.domain.deliveries import StoredObject
from billing_lake.domain.errors import ConfigurationError
from billing_lake.domain.shared_columns import first_of
from billing_lake.domain.sources import SourceFile
from billing_lake.domain.types import STRING, TIMESTAMP, Foreign
from billing_lake.files.base import Files
from billing_lake.files.parquet_types import parquet_fields
from billing_lake.tables.glue_generations import is_read
from billing_lake.tables.glue_schemas import hive_type, parquet_storage

if TYPE_CHECKING:
    import pyarrow as pa

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_ESCAPE = "\u0001"
"""OpenCSVSerDe takes a backslash for an escape unless it is given another one; reports use none, a quote is doubled."""

_COMMENT_CHARACTERS = 255
"""Most characters of a comment that Glue keeps for a column."""

_CSV = {
    "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    "SerdeInfo": {
        "SerializationLibrary": "org.apache.hadoop.hive.serde2.OpenCSVSerde",
        "Parameters": {"separatorChar": ",", "quoteChar": '"', "escapeChar": _NO_ESCAPE},
    },
}
_LISTED_FILES_FORMAT = "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat"


@dataclass(frozen=True)
class RawPart:
    """Files of one header, and so of one table."""

    columns: tuple[dict[str, str], ...]
    files: tuple[SourceFile, ...]


def raw_parts(crawl: Crawl, files: Files) -> list[RawPart]:
    """Return the files of a delivery by header, the first file's first: columns of CSV have an order, and no names of their own."""
    if crawl.source.container == "parquet":
        return [RawPart(_parquet_columns(crawl, files), crawl.source.files)]
    groups: dict[tuple[str, ...], list[SourceFile]] = {}
    for file in crawl.source.files:
        groups.setdefault(file.columns, []).append(file)
    if not groups:
        groups = {tuple(column.name for column in crawl.source.columns): []}
    return [RawPart(_columns(crawl, header), tuple(files)) for header, files in groups.items()]


def folders_of(files: Sequence[SourceFile]) -> list[str]:
    """Return the folders that files lie in, in order."""
    return sorted({file.uri.rpartition("/")[0] for file in files})


def other_files(files: Files, folder: str, own: Sequence[SourceFile]) -> list[str]:
    """Return the files in and below ``folder`` besides ``own``, relative to it: manifests, other deliveries."""
    uris = {file.uri for file in own}
    found = [file.uri for file in files.list(folder) if file.uri not in uris]
    return [uri.removeprefix(f"{folder}/") for uri in found]


def raw_storage(crawl: Crawl, part: RawPart, files: Files, list_at: str) -> dict[str, Any]:
    """Return the storage descriptor by which exactly the files of ``part`` are read.

    It names their folder, if Athena would read nothing else there; else a list of the files, which is written to the folder
    ``list_at``.
    """
    folders = folders_of(part.files)
    packed = crawl.source.compression == "zip"
    alone = len(folders) == 1 and not packed
    others = other_files(files, folders[0], part.files) if alone else []
    whole = alone and not any(is_read(name.rpartition("/")[2]) for name in others)
    location = folders[0] if whole else list_at
    if crawl.source.container == "parquet":
        storage = parquet_storage(part.columns, location)
    else:
        storage = {
            **_CSV,
            "Columns": list(part.columns),
            "Location": f"{location}/",
            "StoredAsSubDirectories": False,
        }
    if not whole:
        files.write(f"{list_at}/files.txt", b"" if packed else _list(part.files))
        storage["InputFormat"] = _LISTED_FILES_FORMAT
        storage["OutputFormat"] = _CSV["OutputFormat"]
    return storage


def raw_parameters(crawl: Crawl, part: RawPart) -> dict[str, str]:
    """Return the table parameters that Athena and Glue know."""
    uris = {file.uri for file in part.files}
    objects: list[StoredObject] = [one for one in crawl.delivery.files if one.uri in uris]
    counted = [
        crawl.profile.files[f.name].rows for f in part.files if f.name in crawl.profile.files
    ]
    known = {
        "EXTERNAL": "TRUE",
        "typeOfData": "file",
        "objectCount": str(len(part.files)),
        "sizeKey": str(sum(one.size for one in objects)),
        "recordCount": str(sum(counted)),
    }
    if crawl.source.container == "parquet":
        return {**known, "classification": "parquet"}
    return {
        **known,
        "classification": "csv",
        "columnsOrdered": "true",
        "compressionType": crawl.source.compression or "none",
        "delimiter": ",",
        "skip.header.line.count": "1",
    }


def _columns(crawl: Crawl, header: Sequence[str]) -> tuple[dict[str, str], ...]:
    """Return a column for each cell of the header; cells that share a column of the lake's tables get numbers."""
    taken: set[str] = set()
    columns = []
    for name in header:
        type_ = str(crawl.source.type_of(name) or STRING)
        distinct, number = name, 1
        while distinct in taken or (number > 1 and distinct in header):
            number += 1
            distinct = f"{name}__{number}"
        taken.add(distinct)
        first = first_of(name)
        comment = type_ if distinct == first else f"{type_}; counts where {first} is empty"
        columns.append(
            {"Name": distinct, "Type": "string", "Comment": comment[:_COMMENT_CHARACTERS]}
        )
    return tuple(columns)


def _parquet_columns(crawl: Crawl, files: Files) -> tuple[dict[str, str], ...]:
    """Return the columns of the first file under their own names, which Hive writes in lower case, in the types that it stores."""
    import pyarrow.parquet as pq

    if not crawl.source.files:
        return ()
    first = crawl.source.files[0]
    with files.open(first.uri) as stream:
        schema = pq.read_schema(stream)
    return tuple({"Name": one.name.lower(), "Type": _stored(one.type)} for one in schema)


def _stored(type_: pa.DataType) -> str:
    """Return the type of a column of Parquet as Hive names it; text where it has no name for it."""
    import pyarrow as pa
    import pyarrow.types as t

    if t.is_timestamp(type_):
        return hive_type("", TIMESTAMP)
    if t.is_map(type_):
        return f"map<{_stored(type_.key_type)},{_stored(type_.item_type)}>"
    if t.is_list(type_) or t.is_large_list(type_):
        return f"array<{_stored(type_.value_type)}>"
    if t.is_struct(type_):
        parts = [type_.field(n) for n in range(type_.num_fields)]
        members = ",".join(f"{one.name.lower()}:{_stored(one.type)}" for one in parts)
        return f"struct<{members}>" if all(_WORD.fullmatch(one.name) for one in parts) else "string"
    ((_, known, _),) = parquet_fields(pa.schema([pa.field("", type_)]))
    return hive_type("", STRING if isinstance(known, Foreign) else known)


def _list(files: Sequence[SourceFile]) -> bytes:
    for file in files:
        if "\n" in file.uri or "\r" in file.uri:
            what = "The name of a report file has a line break, so no list of files can name it"
            raise ConfigurationError(what, remedy="Have it delivered under another", file=file.uri)
    return "".join(f"{file.uri}\n" for file in files).encode()
