"""A lake on the services of the fixture `aws`, and the definitions of one export on it."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from billing_lake.aws.settings import AwsSettings
from billing_lake.deployments.aws import AwsLake
from billing_lake.resources.glue_package import build_glue_package
from billing_lake.resources.glue_runs import GlueWaits
from billing_lake.sample import SampleDelivery
from billing_lake_tests.aws.rights import only_listed_rights
from billing_lake_tests.engines.on_glue import SCRIPT
from billing_lake_tests.lakes import NO_CAPTURE, SampleLake
from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.aws import Aws

if TYPE_CHECKING:
    from typing_extensions import Self

FAST = GlueWaits(
    first_poll=0.05,
    last_poll=0.5,
    progress=2,
    slot=PATIENCE_SECONDS,
    overtime=PATIENCE_SECONDS,
    stop=PATIENCE_SECONDS,
    trouble=PATIENCE_SECONDS,
)
"""A Glue that is looked at often, because it stands on this machine; not so often that the looks take the job's time."""

JOB = "billing-lake"
"""Name of the Glue job of most lakes: the deployed program, without the seconds in which Pipes lets output settle."""

DEPLOYED = "billing-lake-deployed"
"""Name of the Glue job exactly as `make glue-package` builds it."""

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class SampleLakeOnAws(SampleLake):
    """A lake on AWS, and an export that is delivered to it.

    Databases belong to the account, so each lake has a namespace of its own.

    Attributes:
        aws: The services.
        engine: What moves the data.
        job: Name of the Glue job.
        environment: Settings of the lake that differ from the tests' own.
        database: Namespace of its tables.
    """

    aws: Aws = field(kw_only=True)
    engine: str = field(default="polars", kw_only=True)
    job: str = field(default=JOB, kw_only=True)
    environment: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    database: str = field(default_factory=lambda: f"billing{next(_NUMBERS)}", kw_only=True)

    def another_export(self, settings: Mapping[str, Any]) -> Self:
        """Return another export of the same lake, whose buckets it has."""
        return replace(self, settings=settings, environment=self.variables)

    @cached_property
    def bucket(self) -> str:
        return self.environment.get("BILLING_LAKE_LANDING_BUCKET") or self.aws.new_bucket()

    @cached_property
    def warehouse(self) -> str:
        return f"s3://{self.aws.new_bucket()}/lake"

    @cached_property
    def variables(self) -> dict[str, str]:
        return {
            **self.aws.environment(),
            "BILLING_LAKE_DEPLOYMENT": "aws",
            "BILLING_LAKE_LANDING_BUCKET": self.bucket,
            "BILLING_LAKE_WAREHOUSE": self.warehouse,
            "BILLING_LAKE_TABLE_BUCKET_ARN": self.aws.new_table_bucket(),
            "BILLING_LAKE_S3_TABLES_URI": self.aws.iceberg_url,
            "BILLING_LAKE_ENGINE": self.engine,
            "BILLING_LAKE_GLUE_JOB": self.job,
            "BILLING_LAKE_CRAWLED_DATABASE": f"{self.namespace}_crawled",
            **self.environment,
        }

    @cached_property
    def lake(self) -> AwsLake:
        return AwsLake(AwsSettings.from_environment(self.variables), FAST)

    @property
    def namespace(self) -> str:
        return self.database

    @property
    def landing(self) -> Path:
        """A folder of the bucket's name: what is put there goes to the bucket with the next `sync`."""
        return self.home / self.bucket

    def deliver(self, period: str, **arguments: Any) -> SampleDelivery:
        delivery = super().deliver(period, **arguments)
        self.sync()
        return delivery

    def sync(self) -> None:
        """Make the bucket equal to the landing folder; manifests last, as the provider does."""
        s3 = self.aws.client("s3")
        have = {
            one["Key"]: one["ETag"]
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
            for one in page.get("Contents", ())
        }
        files = sorted(path for path in self.landing.rglob("*") if path.is_file())
        keys = {str(path.relative_to(self.landing)): path for path in files}
        for key in sorted(keys, key=lambda key: (key.endswith(".json"), key)):
            if s3_etag(keys[key].read_bytes()) != have.get(key):
                self.aws.put(self.bucket, key, keys[key].read_bytes())
        for key in have.keys() - keys.keys():
            s3.delete_object(Bucket=self.bucket, Key=key)


@pytest.fixture(scope="session")
def glue_job(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Glue jobs, deployed from the package that `make glue-package` builds."""
    package = build_glue_package(tmp_path_factory.mktemp("package"))
    bucket = aws.new_bucket()
    script = aws.put(bucket, package.script.name, package.script.read_bytes())
    library = aws.put(bucket, package.library.name, package.library.read_bytes())
    aws.glue.add_job(DEPLOYED, script, extra_py_files=[library])
    aws.glue.add_job(JOB, aws.put(bucket, "quick.py", SCRIPT), extra_py_files=[library])
    return JOB


@pytest.fixture
def make_aws_lake(
    aws: Aws, glue_job: str, aws_environment: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., SampleLakeOnAws]]:
    """Make lakes on AWS: arguments are the engine and settings of the lake; others are settings of the component."""
    assert aws_environment
    with ExitStack() as stack:
        stack.enter_context(only_listed_rights())

        def make(
            engine: str = "polars",
            environment: dict[str, str] | None = None,
            job: str = glue_job,
            **settings: Any,
        ) -> SampleLakeOnAws:
            number = len(list(tmp_path.iterdir()))
            folder = tmp_path / f"dagster{number}"
            folder.mkdir()
            instance = stack.enter_context(
                dg.DagsterInstance.local_temp(str(folder), overrides=NO_CAPTURE)
            )
            home = tmp_path / f"lake{number}"
            lake = SampleLakeOnAws(
                home,
                settings,
                instance,
                aws=aws,
                engine=engine,
                job=job,
                environment=environment or {},
            )
            # Its buckets are made now: tests load from threads, and cached properties are not locked from Python 3.12 on.
            assert lake.variables
            stack.callback(forget_databases, aws, lake.namespace)
            return lake

        yield make


def forget_databases(aws: Aws, namespace: str) -> None:
    """Let later tests not have to look through what a lake leaves in the account's catalog, as every list of its tables does."""
    databases = aws.glue.backend.databases
    for name in [one for one in databases if re.fullmatch(rf"{namespace}(_[a-z]+)?", one)]:
        del databases[name]


def s3_etag(data: bytes) -> str:
    """Return the tag that S3 gives to an object put at once."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
