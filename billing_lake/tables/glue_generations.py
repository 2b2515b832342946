"""Generations of Hive-style tables in S3: their folders, their files, and the claims that name them.

S3 cannot exchange several objects at once, so generations lie beside the tables' own folders: a glob over a table's folder
finds no month twice.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from billing_lake.domain.sources import Encoded, PeriodKey
from billing_lake.files.s3 import S3Files
from billing_lake.tables.base import DELIVERY_PROPERTY, PERIOD
from billing_lake.tables.data_files import Placing
from billing_lake.tables.glue_partition_owners import Claim, ClaimedFile, Seen
from billing_lake.tables.glue_tables import Entry
from billing_lake.tables.hive_generations import numbered_names

log = logging.getLogger(__name__)

GENERATIONS = "_generations"
"""Folder of the generations of all tables, beside the tables' own folders."""


class GenerationFiles:
    """The files of generations."""

    def __init__(self, files: S3Files) -> None:
        self._files = files

    def keep_only(self, folder: str, encoded: Encoded) -> tuple[ClaimedFile, ...]:
        """Remove what a failed attempt left in a folder beside the encoded files; return these as a claim names them."""
        wanted = {file.uri for file in encoded.files}
        for file in self._files.list(folder):
            if file.uri not in wanted:
                self._files.remove(file.uri)
                if is_read(_name(file.uri)):
                    log.warning("removed %s, which no finished attempt wrote", file.uri)
        return tuple(ClaimedFile(_name(file.uri), file.rows, file.size) for file in encoded.files)

    def copy(self, encoded: Encoded, folder: str, placing: Placing) -> tuple[ClaimedFile, ...]:
        """Copy the encoded files into a folder; return them as a claim names them."""
        names = numbered_names([_name(file.uri) for file in encoded.files])
        for number, (name, file) in enumerate(zip(names, encoded.files, strict=True), start=1):
            placing.begin(number)
            self._files.copy(file.uri, f"{folder}/{name}", placing.arrived)
        return tuple(
            ClaimedFile(name, file.rows, file.size)
            for name, file in zip(names, encoded.files, strict=True)
        )

    def copy_claimed(self, entry: Entry, claim: Claim, folder: str) -> None:
        """Copy the files that a claim names into a folder."""
        source = generation_folder(entry, claim.generation)
        for file in claim.files:
            self._files.copy(f"{source}/{file.name}", f"{folder}/{file.name}")

    def older_than(self, entry: Entry, age: timedelta) -> list[str]:
        """Return the generations of a table in which nothing was written for ``age``, in order of their folders."""
        young = datetime.now(timezone.utc) - age
        newest: dict[str, datetime] = {}
        parent = generations_folder(entry.folder)
        for file in self._files.list(parent):
            period, _, below = file.uri.removeprefix(f"{parent}/").partition("/")
            generation, slash, _ = below.partition("/")
            if slash:
                folder = f"{parent}/{period}/{generation}"
                newest[folder] = max(newest.get(folder, file.modified), file.modified)
        return sorted(folder for folder, modified in newest.items() if modified <= young)


def generations_folder(folder: str) -> str:
    """Return the folder of all generations of the table in ``folder``: beside it, so that no glob over the table finds two."""
    root, _, name = folder.rpartition("/")
    return f"{root}/{GENERATIONS}/{name}"


def generation_folder(entry: Entry, generation: str) -> str:
    """Return the folder of a generation, which claims name by its path from the root of the tables."""
    return f"{entry.folder.rpartition('/')[0]}/{generation}"


def generation_name(entry: Entry, folder: str) -> str:
    """Return the name of the generation in ``folder``, as claims write it."""
    return folder.removeprefix(f"{entry.folder.rpartition('/')[0]}/")


def folders_kept_by(entry: Entry, claim: Claim) -> set[str]:
    """Return the folders of the generations that a claim keeps: the current one, and the previous one."""
    generations = (claim.generation, claim.previous)
    return {generation_folder(entry, one) for one in generations if one is not None}


def generation_with(entry: Entry, key: PeriodKey, encoded: Encoded) -> str | None:
    """Return the generation folder in which all files lie, or None where they lie elsewhere."""
    folders = {file.uri.rpartition("/")[0] for file in encoded.files}
    folder = folders.pop() if len(folders) == 1 else ""
    return folder if folder.rpartition("/")[0] == period_folder(entry.folder, key) else None


def period_folder(folder: str, key: PeriodKey) -> str:
    """Return the folder in which generations of a period of the table in ``folder`` lie."""
    return f"{generations_folder(folder)}/{PERIOD}={key.period}"


def new_generation(folder: str, key: PeriodKey) -> str:
    """Return the folder of a new generation of a period of the table in ``folder``."""
    return f"{period_folder(folder, key)}/{uuid.uuid4().hex}"


def empty_claim(claim: Claim) -> Claim:
    """Return the claim by which the period of another one has no rows."""
    return replace(claim, id=uuid.uuid4().hex, generation=uuid.uuid4().hex, files=(), properties={})


def claim_to(
    entry: Entry,
    key: PeriodKey,
    encoded: Encoded,
    folder: str,
    files: tuple[ClaimedFile, ...],
    properties: Mapping[str, str],
) -> Claim:
    """Return the claim of a load whose files are in ``folder``."""
    return Claim(
        id=uuid.uuid4().hex,
        table_id=entry.id,
        export=key.export,
        period=key.period,
        generation=generation_name(entry, folder),
        previous=None,
        files=files,
        version=encoded.version,
        properties={**properties, DELIVERY_PROPERTY: encoded.identity},
        at=datetime.now(timezone.utc).isoformat(),
    )


def with_previous(claim: Claim, seen: Seen) -> Claim:
    """Return ``claim`` with the previous generation that follows from what was seen before it.

    A generation that is loaded once more keeps the previous one as it was.
    """
    before = seen.claim
    if before is None:
        return claim
    same = before.generation == claim.generation
    return replace(claim, previous=before.previous if same else before.generation)


def is_read(name: str) -> bool:
    """Say whether readers of a folder read a file of this name: Hive hides names such as `_SUCCESS` and `.part`."""
    return not name.startswith(("_", "."))


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]
