"""The settings of the deployment `aws`, from environment variables, each checked when the code location loads.

A setting that is missing or cannot be right is said with its name before anything runs; whether its value is there and
open to us, only AWS knows, and the start of each run asks (`AwsLake.require`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from billing_lake.domain.errors import ConfigurationError, shown

AwsEngine = Literal["glue", "polars"]
"""What moves the data of a lake on AWS: Spark in a Glue job, or Polars in the run's own process."""

REGION = "AWS_REGION"
LANDING = "BILLING_LAKE_LANDING_BUCKET"
WAREHOUSE = "BILLING_LAKE_WAREHOUSE"
TABLE_BUCKET = "BILLING_LAKE_TABLE_BUCKET_ARN"
S3_TABLES_URI = "BILLING_LAKE_S3_TABLES_URI"
ENGINE = "BILLING_LAKE_ENGINE"
GLUE_JOB = "BILLING_LAKE_GLUE_JOB"
GLUE_WORKER_TYPE = "BILLING_LAKE_GLUE_WORKER_TYPE"
GLUE_WORKERS = "BILLING_LAKE_GLUE_WORKERS"
GLUE_TIMEOUT = "BILLING_LAKE_GLUE_TIMEOUT_MINUTES"
GLUE_PRICE = "BILLING_LAKE_GLUE_DPU_HOUR_USD"
PIPES_BUCKET = "BILLING_LAKE_PIPES_BUCKET"
CRAWLER_ROLE = "BILLING_LAKE_GLUE_CRAWLER_ROLE"
CRAWLED_DATABASE = "BILLING_LAKE_CRAWLED_DATABASE"
WORKGROUP = "BILLING_LAKE_ATHENA_WORKGROUP"
ATHENA_OUTPUT = "BILLING_LAKE_ATHENA_OUTPUT"

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_S3_URI = re.compile(rf"s3://({_BUCKET.pattern})((?:/(?!\.)[A-Za-z0-9!_.*'()=-]+)*)/?")
_TABLE_BUCKET = re.compile(rf"arn:aws[a-z-]*:s3tables:[a-z0-9-]+:\w+:bucket/{_BUCKET.pattern}")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_WORKGROUP = re.compile(r"[A-Za-z0-9._-]{1,128}")
_WORKER_TYPE = re.compile(r"[GRZ]\.\d{1,2}X|G\.025X|Standard")
_DATABASE = re.compile(r"[a-z0-9][a-z0-9_]{0,254}")
_JOB = re.compile(r"[^\x00-\x1f]{1,255}")


@dataclass(frozen=True, kw_only=True)
class AwsSettings:
    """Where a lake on AWS lies and what works for it.

    Attributes:
        region: Region of all of it.
        landing_bucket: Bucket that exports are delivered to.
        warehouse: URI of the folder of tables, values and staged files, without a slash at its end.
        table_bucket_arn: The S3 Tables bucket; None where no export has the output `s3_table`.
        s3_tables_uri: Iceberg REST endpoint of S3 Tables.
        engine: What moves the data.
        glue_job: Name of the Glue job; None where the engine is another.
        glue_worker_type: Worker type of its runs.
        glue_workers: Number of their workers.
        glue_timeout_minutes: Minutes after which Glue ends a run.
        glue_dpu_hour_usd: Price of a DPU hour, for the estimate of what a run costs.
        pipes_bucket: Bucket through which job and run talk.
        crawler_role: Role of Glue crawlers; None where no export uses one.
        crawled_database: Glue database of crawled tables; two lakes of one account must not share it.
        athena_workgroup: Workgroup that queries go to.
        athena_output: URI of the folder of query results.
    """

    region: str
    landing_bucket: str
    warehouse: str
    table_bucket_arn: str | None
    s3_tables_uri: str
    engine: AwsEngine
    glue_job: str | None
    glue_worker_type: str
    glue_workers: int
    glue_timeout_minutes: int
    glue_dpu_hour_usd: float
    pipes_bucket: str
    crawler_role: str | None
    crawled_database: str
    athena_workgroup: str
    athena_output: str

    @property
    def warehouse_bucket(self) -> str:
        """Bucket of the warehouse."""
        return self.warehouse.removeprefix("s3://").partition("/")[0]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> AwsSettings:
        """Read the settings.

        Raises:
            ConfigurationError: One is missing or cannot be right; the message begins with its name.
        """
        read = _Reader(environment)
        region = read.region()
        warehouse = read.folder(WAREHOUSE, required=True)
        engine = read.engine()
        return cls(
            region=region,
            landing_bucket=read.text(LANDING, _BUCKET, "a bucket's name, without s3://"),
            warehouse=warehouse,
            table_bucket_arn=read.optional(
                TABLE_BUCKET, _TABLE_BUCKET, "arn:aws:s3tables:<region>:<account>:bucket/<name>"
            ),
            s3_tables_uri=read.url(
                S3_TABLES_URI, f"https://s3tables.{region}.amazonaws.com/iceberg"
            ),
            engine=engine,
            glue_job=read.text(
                GLUE_JOB, _JOB, "the name of the Glue job, or BILLING_LAKE_ENGINE=polars"
            )
            if engine == "glue"
            else read.optional(GLUE_JOB, _JOB, "the name of the Glue job"),
            glue_worker_type=read.text(
                GLUE_WORKER_TYPE, _WORKER_TYPE, "a worker type of Glue, such as G.1X", "G.1X"
            ),
            glue_workers=read.count(GLUE_WORKERS, 5, 2, 299),
            glue_timeout_minutes=read.count(GLUE_TIMEOUT, 120, 1, 10_080),
            glue_dpu_hour_usd=read.price(GLUE_PRICE, 0.44),
            pipes_bucket=read.text(
                PIPES_BUCKET,
                _BUCKET,
                "a bucket's name, without s3://",
                warehouse.removeprefix("s3://").partition("/")[0],
            ),
            crawler_role=read.optional(CRAWLER_ROLE, _ROLE, "arn:aws:iam::<account>:role/<name>"),
            crawled_database=read.text(
                CRAWLED_DATABASE, _DATABASE, "the name of a Glue database", "billing_lake_crawled"
            ),
            athena_workgroup=read.text(WORKGROUP, _WORKGROUP, "a workgroup's name", "primary"),
            athena_output=read.folder(ATHENA_OUTPUT, default=f"{warehouse}/athena"),
        )


class _Reader:
    """Reads settings one by one and says which of them is wrong."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, pattern: re.Pattern[str], form: str, default: str = "") -> str:
        value = self._environment.get(name) or default
        if not value:
            raise ConfigurationError(f"{name} is not set", remedy=f"Set it to {form}")
        return self._checked(name, value, pattern, form)

    def optional(self, name: str, pattern: re.Pattern[str], form: str) -> str | None:
        value = self._environment.get(name)
        return self._checked(name, value, pattern, form) if value else None

    def folder(self, name: str, *, default: str = "", required: bool = False) -> str:
        value = self._environment.get(name) or default
        form = "s3://<bucket>/<folder>"
        if required and not value:
            raise ConfigurationError(f"{name} is not set", remedy=f"Set it to {form}")
        return self._checked(name, value, _S3_URI, form).rstrip("/")

    def url(self, name: str, default: str) -> str:
        value = self._environment.get(name) or default
        return self._checked(name, value, re.compile(r"https?://[^\s@]+"), "an https:// address")

    def engine(self) -> AwsEngine:
        value = self._environment.get(ENGINE) or "glue"
        for engine in get_args(AwsEngine):
            if value == engine:
                chosen: AwsEngine = engine
                return chosen
        raise _wrong(ENGINE, value, " or ".join(get_args(AwsEngine)))

    def count(self, name: str, default: int, least: int, most: int) -> int:
        value = self._environment.get(name) or str(default)
        if not value.isdecimal() or not least <= int(value) <= most:
            raise _wrong(name, value, f"a number from {least} to {most:,}")
        return int(value)

    def price(self, name: str, default: float) -> float:
        value = self._environment.get(name) or str(default)
        if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value) is None:
            raise _wrong(name, value, "a price in US dollars, such as 0.44")
        return float(value)

    def region(self) -> str:
        value = self._environment.get(REGION) or self._environment.get("AWS_DEFAULT_REGION")
        value = value or self._profile_region()
        if not value:
            remedy = "Set it to the region of your buckets, such as eu-central-1"
            raise ConfigurationError(f"{REGION} is not set", remedy=remedy)
        return self._checked(REGION, value, _REGION, "a region, such as eu-central-1")

    def _profile_region(self) -> str | None:
        """Return the region of the AWS profile; looked for only where no variable names one, because it takes boto3."""
        if not self._environment.get("AWS_PROFILE"):
            return None
        import botocore.session

        profile = botocore.session.Session(profile=self._environment["AWS_PROFILE"])
        region: str | None = profile.get_config_variable("region")
        return region

    @staticmethod
    def _checked(name: str, value: str, pattern: re.Pattern[str], form: str) -> str:
        if pattern.fullmatch(value) is None:
            raise _wrong(name, value, form)
        return value


def _wrong(name: str, value: str, form: str) -> ConfigurationError:
    return ConfigurationError(f"{name} is {shown(value)!r}", remedy=f"Set it to {form}")
