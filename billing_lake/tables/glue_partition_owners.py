"""Claims in S3, which decide which generation of a billing period counts in a Hive-style table of Glue.

Glue writes a partition whatever it holds, so a writer cannot make sure that nobody was faster. S3 can write an object only if
it still has the tag that was read before (compare and swap). So each period has one small object, its *claim*, that names the
current generation, and the partition follows the claim (see `glue_partitions`).

    <table's folder>/_claims/<export>/billing_period=2025-03.json
    {"format": 1, "id": …, "table_id": …, "export": …, "period": …, "generation": …, "previous": …,
     "files": [{"name": …, "rows": …, "size": …}], "version": …, "properties": {…}, "at": …}
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from billing_lake.aws.clients import AwsClients
from billing_lake.aws.errors import s3_errors
from billing_lake.domain.errors import TableError, shown
from billing_lake.domain.sources import PeriodKey
from billing_lake.files.s3 import S3Files, split_uri
from billing_lake.tables.base import PERIOD

log = logging.getLogger(__name__)

CLAIMS = "_claims"
"""Folder of the claims below a table's; no partition lies in it."""

_FORMAT = 1
_THREADS = 8
_SWAP_REFUSED = {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}


@dataclass(frozen=True)
class ClaimedFile:
    """A file of a generation, by its name in the folder."""

    name: str
    rows: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The generation that holds the rows of a billing period.

    Attributes:
        id: 32 hexadecimal digits, unique to this claim, so that two of the same content differ.
        table_id: Id of the table; a later table in the same folder does not use it.
        period: The billing period, `2025-03`.
        generation: Folder of the files, `_generations/billing.cur/billing_period=2025-03/<id>` from the root of the tables.
        previous: Generation that readers may still be reading.
        version: Delivery version.
        properties: Properties of the load.
        at: When the claim was made, ISO 8601.
    """

    id: str
    table_id: str
    export: str
    period: str
    generation: str
    previous: str | None
    files: tuple[ClaimedFile, ...]
    version: str
    properties: Mapping[str, str]
    at: str

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def key(self) -> PeriodKey:
        """Export and billing period."""
        return PeriodKey(self.export, self.period)

    def to_json(self) -> bytes:
        """Return the claim as the bytes that are stored."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1).encode()


@dataclass(frozen=True)
class Seen:
    """A claim as it was read: None where there is none of this table, and the tag of the object that lies there."""

    claim: Claim | None
    tag: str | None


class Claims:
    """The claims of tables in S3.

    Args:
        files: The lake's files; claims use its client of S3 directly, for conditional writes.
    """

    def __init__(self, files: S3Files) -> None:
        self._files = files
        self._read_before: dict[str, Seen] = {}

    def look(self, folder: str, table_id: str, key: PeriodKey) -> Seen:
        """Return the claim to a period of the table in ``folder``."""
        return self._read(_uri(folder, key), table_id)

    def all(self, folder: str, table_id: str) -> dict[PeriodKey, Claim]:
        """Return every claim of the table in ``folder``; a claim is read again only when its tag has changed."""
        bucket, prefix = split_uri(f"{folder}/{CLAIMS}/")
        tags = {
            f"s3://{bucket}/{one['Key']}": str(one["ETag"])
            for one in self._files.listed(bucket, prefix)
        }

        def read(uri: str) -> Claim | None:
            before = self._read_before.get(uri)
            if before is None or before.tag != tags[uri]:
                self._read_before[uri] = before = self._fetch(uri)
            return _of_table(before.claim, table_id)

        with ThreadPoolExecutor(_THREADS) as threads:
            found = threads.map(read, tags)
            return {claim.key: claim for claim in found if claim is not None}

    def swap(self, folder: str, claim: Claim, seen: Seen) -> bool:
        """Store ``claim`` if the object still is what was ``seen``; return whether it was.

        When S3 refuses, the object is read again: an earlier try may have stored the claim although its answer got lost.
        """
        from botocore.exceptions import ClientError

        uri = _uri(folder, claim.key)
        bucket, key = split_uri(uri)
        condition = {"IfNoneMatch": "*"} if seen.tag is None else {"IfMatch": seen.tag}
        with s3_errors(uri):
            try:
                self._client.put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=claim.to_json(),
                    ContentType="application/json",
                    **condition,
                )
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] not in _SWAP_REFUSED:
                    raise
                if error.response["Error"]["Code"] == "NoSuchBucket":
                    raise
                now = self._read(uri, claim.table_id).claim
                return now is not None and now.id == claim.id
        return True

    def _read(self, uri: str, table_id: str) -> Seen:
        seen = self._fetch(uri)
        return Seen(_of_table(seen.claim, table_id), seen.tag)

    def _fetch(self, uri: str) -> Seen:
        bucket, key = split_uri(uri)
        try:
            with s3_errors(uri):
                answer = self._client.get_object(Bucket=bucket, Key=key)
                with answer["Body"] as body:
                    data = body.read()
        except FileNotFoundError:
            return Seen(None, None)
        return Seen(_parse(uri, data), str(answer["ETag"]))

    @property
    def _client(self) -> Any:
        clients: AwsClients = self._files.clients
        return clients.client("s3")


def _of_table(claim: Claim | None, table_id: str) -> Claim | None:
    return claim if claim is not None and claim.table_id == table_id else None


def _uri(folder: str, key: PeriodKey) -> str:
    return f"{folder}/{CLAIMS}/{key.export}/{PERIOD}={key.period}.json"


def _parse(uri: str, data: bytes) -> Claim:
    try:
        value = json.loads(data)
        # Another format has other names, which `Claim` does not take.
        del value["format"]
        files = tuple(ClaimedFile(**file) for file in value.pop("files"))
        return Claim(**value, files=files)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"The record of what a billing period holds cannot be read: {shown(error)}"
        remedy = (
            "Restore the object from the bucket's history, or remove it and load the period again"
        )
        raise TableError(what, remedy=remedy, file=uri) from error
