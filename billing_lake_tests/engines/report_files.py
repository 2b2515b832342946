"""Report files for engine tests: a header of a dozen columns, a few rows, one thing out of order."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

from billing_lake.domain.profiles import Profile, compare
from billing_lake.domain.schemas import lake_columns, plan
from billing_lake.domain.sources import (
    EncodedFile,
    EncodeTarget,
    Source,
    SourceFile,
    union_columns,
)
from billing_lake.engines.base import Engine
from billing_lake.engines.polars_engine import PolarsEngine
from billing_lake.formats.headers import column_names
from billing_lake.formats.legacy_cur import LEGACY_CUR
from billing_lake_tests.reports import MINIMAL_HEADER

AGAIN = "convert: the files are read again, carefully"


def report(path: Path, content: bytes | str) -> Path:
    """Gzip ``content`` as the report file ``path``."""
    path.write_bytes(gzip.compress(content.encode() if isinstance(content, str) else content))
    return path


def csv_text(rows: Iterable[Sequence[str]], header: Sequence[str] = MINIMAL_HEADER) -> str:
    """Return CSV text of ``rows`` below ``header``; Python's own writer refuses NULs before 3.11."""
    return "".join(",".join(_quoted(cell) for cell in row) + "\n" for row in [header, *rows])


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\r\n') else cell


def source_of(*paths: Path, header: Sequence[str] = MINIMAL_HEADER) -> Source:
    """Return the source of report files that all have ``header``."""
    names = column_names(header, "header", LEGACY_CUR)
    files = tuple(SourceFile(uri=str(path), name=path.name, columns=names) for path in paths)
    return LEGACY_CUR.source(files, union_columns([LEGACY_CUR.columns(names)]))


def encode(engine: Engine, source: Source, folder: Path) -> tuple[EncodedFile, ...]:
    """Encode ``source`` into ``folder`` for a table that does not exist yet."""
    return engine.encode(source, target_of(source, folder))


def target_of(source: Source, folder: Path | str) -> EncodeTarget:
    """Return what is to be encoded for a table that does not exist yet."""
    return EncodeTarget(
        fields=plan(None, lake_columns(source.columns)).fields,
        constants={
            "export_name": "acme",
            "billing_period": "2025-03",
            "delivery_version": "20250403T040211Z",
        },
        folder=str(folder),
        stem="load",
    )


def table_of(source: Source, files: Sequence[EncodedFile]) -> Source:
    """Return what a table would say about the encoded ``files`` of ``source``."""
    return LEGACY_CUR.with_roles(
        Source(
            container="parquet",
            files=tuple(SourceFile(uri=file.uri, name=file.uri) for file in files),
            columns=lake_columns(source.columns),
        )
    )


def converted(source: Source, folder: Path) -> tuple[Profile, tuple[EncodedFile, ...], bool]:
    """Return what the third verb gives, and whether one pass was enough for it."""
    lines: list[str] = []
    found = PolarsEngine(log=lines.append).convert(source, target_of(source, folder))
    assert found is not None
    return *found, AGAIN not in lines


def assert_same(source: Source, folder: Path) -> bool:
    """Compare what one pass over ``source`` makes, profile and every cell, with what two make; say whether one was enough."""
    engine = PolarsEngine()
    profile, files, once = converted(source, folder / "once")
    careful = engine.profile(source)
    assert profile == careful
    table = table_of(source, files)
    columns = [one for one in table.columns if one.name != "delivery_version"]
    twice = table_of(source, engine.encode(source, target_of(source, folder / "twice")))
    assert engine.content(table, columns) == engine.content(twice, columns)
    assert compare(careful, engine.profile(table)) == []
    return once
