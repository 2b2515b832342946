"""Generations of Hive-style tables in S3: where they lie, and what claims say of them.

S3 cannot exchange several objects at once, so generations lie beside the tables' own folders: a glob over a table's folder
finds no month twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone

from billing_lake.domain.sources import Encoded, PeriodKey
from billing_lake.tables.base import DELIVERY_IDENTITY, PERIOD
from billing_lake.tables.glue_partition_owners import Claim, ClaimedFile, Seen
from billing_lake.tables.glue_tables import Entry

GENERATIONS = "_generations"
"""Folder of the generations of all tables, beside the tables' own folders."""


def generations_folder(folder: str) -> str:
    """Return the folder of all generations of the table in ``folder``: beside it, so that no glob over the table finds two."""
    root, _, name = folder.rpartition("/")
    return f"{root}/{GENERATIONS}/{name}"


def generation_folder(entry: Entry, key: PeriodKey, generation: str) -> str:
    """Return the folder of a generation, as claims name it: from the root of the tables.

    Earlier versions had generations in the table's own folder, and named them by the last part of the path.
    """
    if "/" in generation:
        return f"{entry.folder.rpartition('/')[0]}/{generation}"
    return f"{entry.folder}/{PERIOD}={key.period}/{generation}"


def generation_name(entry: Entry, folder: str) -> str:
    """Return the name by which a claim knows the generation in ``folder``."""
    if folder.startswith(f"{entry.folder}/"):
        return folder.rpartition("/")[2]
    return folder.removeprefix(f"{entry.folder.rpartition('/')[0]}/")


def adoptable(entry: Entry, key: PeriodKey, encoded: Encoded) -> str | None:
    """Return the generation folder that all files lie in, or None where they lie elsewhere."""
    folders = {file.uri.rpartition("/")[0] for file in encoded.files}
    if len(folders) != 1:
        return None
    folder = folders.pop()
    return folder if folder.rpartition("/")[0] in parents(entry.folder, key) else None


def parents(folder: str, key: PeriodKey) -> tuple[str, str]:
    """Return the folders in which generations of a period lie: today's, and that of earlier versions."""
    period = f"{PERIOD}={key.period}"
    return f"{generations_folder(folder)}/{period}", f"{folder}/{period}"


def new_generation(folder: str, key: PeriodKey) -> str:
    """Return the folder of a new generation of a period of the table in ``folder``."""
    return f"{parents(folder, key)[0]}/{uuid.uuid4().hex}"


def emptied(claim: Claim) -> Claim:
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
        properties={**properties, DELIVERY_IDENTITY: encoded.identity},
        at=datetime.now(timezone.utc).isoformat(),
    )


def after(claim: Claim, seen: Seen) -> Claim:
    """Return ``claim`` as it follows what was seen; a generation that is loaded once more keeps the previous one as it was."""
    before = seen.claim
    if before is None:
        return claim
    same = before.generation == claim.generation
    return replace(claim, previous=before.previous if same else before.generation)


def is_read(name: str) -> bool:
    """Say whether readers of a folder take a file: not those that Hive hides."""
    return not name.startswith(("_", "."))
