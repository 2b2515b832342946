"""How long `inspect` takes on a bucket of many exports and months, and with how many requests: a part of `make bench`."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from billing_lake.aws.clients import AwsClients
from billing_lake.domain.periods import next_period
from billing_lake.landing.inspection import inspect
from billing_lake.landing.s3 import S3Storage
from billing_lake_tests.files.recording import recorded
from billing_lake_tests.servers.account import Account
from billing_lake_tests.servers.seaweedfs import SeaweedFS

_COLUMNS = 130
_CHUNKS = 2
_AT_ONCE = 16


def measure(exports: int, months: int) -> dict[str, Any]:
    """Return what `inspect` takes, and what it takes boto3 to list the bucket and read each manifest, one after the other."""
    with bucket_of(exports, months) as (clients, bucket):
        s3 = clients.client("s3")
        bare = _bare(s3, bucket)
        with recorded(s3) as requests:
            started = time.monotonic()
            found = inspect(S3Storage(clients, bucket))
            seconds = time.monotonic() - started
    deliveries = sum(len(one.findings.deliveries) for one in found.exports)
    if deliveries != exports * months:
        raise AssertionError(found)
    return {"seconds": seconds, "bare": bare, "requests": Counter(requests)}


@contextmanager
def bucket_of(exports: int, months: int) -> Iterator[tuple[AwsClients, str]]:
    """Give a bucket of a real server with so many exports, `export0` and so on, and the clients that lead to it."""
    with SeaweedFS(keys=(Account.key,), secret=Account.secret, account=Account.account) as server:
        account = Account(server)
        account.glue_url = server.s3_url
        os.environ.update(account.environment())
        clients, bucket = AwsClients(account.region), account.new_bucket()
        _fill(clients.client("s3"), bucket, exports, months)
        yield clients, bucket


def _bare(s3: Any, bucket: str) -> float:
    started = time.monotonic()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for one in page["Contents"]:
            if one["Key"].endswith(".json"):
                json.loads(s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read())
    return time.monotonic() - started


def _fill(s3: Any, bucket: str, exports: int, months: int) -> None:
    def put(key_and_data: tuple[str, bytes]) -> None:
        key, data = key_and_data
        s3.put_object(Bucket=bucket, Key=key, Body=data)

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for number in range(exports):
            period = "2015-01"
            for _ in range(months):
                delivery = _legacy if number % 2 else _data_export
                list(threads.map(put, delivery(bucket, f"export{number}", period).items()))
                period = next_period(period)


def _legacy(bucket: str, name: str, period: str) -> dict[str, bytes]:
    start, end = (one.replace("-", "") + "01" for one in (period, next_period(period)))
    folder = f"legacy/{name}/{start}-{end}"
    keys = [f"{folder}/{start}T000000Z/{name}-{n:05d}.csv.gz" for n in range(1, _CHUNKS + 1)]
    manifest = {
        "assemblyId": f"{start}T000000Z",
        "bucket": bucket,
        "billingPeriod": {"start": f"{start}T000000.000Z", "end": f"{end}T000000.000Z"},
        "reportKeys": keys,
        "columns": [{"category": "lineItem", "name": f"Column{n}"} for n in range(_COLUMNS)],
    }
    return {
        **dict.fromkeys(keys, b"x"),
        f"{folder}/{name}-Manifest.json": json.dumps(manifest).encode(),
    }


def _data_export(bucket: str, name: str, period: str) -> dict[str, bytes]:
    folder, month = f"exports/{name}", f"BILLING_PERIOD={period}"
    keys = [f"{folder}/data/{month}/{name}-{n:05d}.csv.gz" for n in range(1, _CHUNKS + 1)]
    manifest = {
        "executionId": f"{name}-{period}",
        "columns": [{"name": f"line_item_column_{n}", "type": "string"} for n in range(_COLUMNS)],
        "dataFiles": [f"s3://{bucket}/{key}" for key in keys],
    }
    return {
        **dict.fromkeys(keys, b"x"),
        f"{folder}/metadata/{month}/{name}-Manifest.json": json.dumps(manifest).encode(),
    }
