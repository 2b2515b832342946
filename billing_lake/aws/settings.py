"""Reads the settings of a lake on AWS from environment variables, and checks each of them in this one place.

A setting that is missing or cannot be right is named when the code location loads. Whether its value exists and is open to this
process only AWS knows: the start of each run asks (`AwsLake.require`). The table of settings in the documentation is made from the
fields of this model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from billing_lake.domain.errors import ConfigurationError, shown

WORKER_DPUS = {
    "G.025X": 0.25,
    "G.1X": 1.0,
    "G.2X": 2.0,
    "G.4X": 4.0,
    "G.8X": 8.0,
    "G.12X": 12.0,
    "G.16X": 16.0,
    "R.1X": 1.0,
    "R.2X": 2.0,
    "R.4X": 4.0,
    "R.8X": 8.0,
}
"""Data processing units (DPUs) of a worker of each type that runs Spark; they are what Glue bills."""

PIPES_FOLDER = "billing-lake-pipes"
"""Folder of the Pipes bucket in which everything between Dagster and Glue travels; a lifecycle rule may clear it after a week."""

_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_FOLDER = rf"s3://{_BUCKET}(?:/(?!\.)[A-Za-z0-9!_.*'()=-]+)*/?"
_BUCKET_FORM = "a bucket's name, without s3://"
_FOLDER_FORM = "s3://<bucket>/<folder>"


def _setting(
    variable: str,
    meaning: str,
    form: str,
    pattern: str | None = None,
    *,
    default: Any = ...,
    derived: Callable[[dict[str, Any]], Any] | None = None,
    shown_default: str | None = None,
    **limits: Any,
) -> Any:
    """Return the field of one setting.

    Args:
        variable: The environment variable, such as `BILLING_LAKE_WAREHOUSE`.
        meaning: What it decides, for the documentation.
        form: What a right value looks like, for the remedy of an error.
        pattern: Regular expression that a right value matches as a whole.
        default: Value where the variable is not set or empty; none for a setting that is required.
        derived: Makes the default from the fields before this one.
        shown_default: The default as the documentation has it, where the value itself says too little.
        limits: As pydantic takes them, such as `ge`.
    """
    given: dict[str, Any] = {"default": default}
    if derived is not None:
        given = {"default_factory": derived}
    return Field(
        alias=variable,
        description=meaning,
        pattern=None if pattern is None else rf"\A(?:{pattern})\Z",
        json_schema_extra={"form": form, "default": shown_default},
        **given,
        **limits,
    )


class AwsSettings(BaseModel):
    """The settings of a lake on AWS: where it is, and what works for it."""

    model_config = ConfigDict(frozen=True, extra="ignore", regex_engine="python-re")

    region: str = _setting(
        "AWS_REGION",
        "region of everything; credentials come from boto3's usual places",
        "the region of your buckets, such as eu-central-1",
        r"[a-z]{2}(-[a-z]+)+-\d",
        shown_default="the profile's",
    )
    landing_bucket: str = _setting(
        "BILLING_LAKE_LANDING_BUCKET",
        "bucket that exports are delivered to; it is only read",
        _BUCKET_FORM,
        _BUCKET,
    )
    warehouse: str = _setting(
        "BILLING_LAKE_WAREHOUSE",
        "`s3://bucket/folder` of tables, staged files and values between assets",
        _FOLDER_FORM,
        _FOLDER,
    )
    table_bucket_arn: str | None = _setting(
        "BILLING_LAKE_TABLE_BUCKET_ARN",
        "the S3 Tables bucket",
        "arn:aws:s3tables:<region>:<account>:bucket/<name>",
        rf"arn:aws[a-z-]*:s3tables:[a-z0-9-]+:\w+:bucket/{_BUCKET}",
        default=None,
        shown_default="needed for the output `s3_table`",
    )
    s3_tables_uri: str = _setting(
        "BILLING_LAKE_S3_TABLES_URI",
        "its Iceberg REST endpoint",
        "an https:// address",
        r"https?://[^\s@]+",
        derived=lambda known: f"https://s3tables.{known['region']}.amazonaws.com/iceberg",
        shown_default="the region's",
    )
    engine: Literal["glue", "polars"] = _setting(
        "BILLING_LAKE_ENGINE",
        "what moves the data: `glue` (Spark in a Glue job) or `polars` (in the run's own process)",
        "glue or polars",
        default="glue",
    )
    glue_job: str | None = _setting(
        "BILLING_LAKE_GLUE_JOB",
        "name of the Glue job",
        "the name of the Glue job, or BILLING_LAKE_ENGINE to polars",
        r"[^\x00-\x1f]{1,255}",
        default=None,
        validate_default=True,
        shown_default="needed for `glue`",
    )
    glue_worker_type: str = _setting(
        "BILLING_LAKE_GLUE_WORKER_TYPE",
        "size of a worker of a Glue run",
        f"one of {', '.join(WORKER_DPUS)}",
        "|".join(map(re.escape, WORKER_DPUS)),
        default="G.1X",
    )
    glue_workers: int = _setting(
        "BILLING_LAKE_GLUE_WORKERS",
        "number of workers of a Glue run, the driver included",
        "a number from 2 to 299",
        default=5,
        ge=2,
        le=299,
    )
    glue_timeout_minutes: int = _setting(
        "BILLING_LAKE_GLUE_TIMEOUT_MINUTES",
        "minutes after which Glue ends a run",
        "a number from 1 to 10,080",
        default=120,
        ge=1,
        le=10_080,
    )
    glue_dpu_hour_usd: float = _setting(
        "BILLING_LAKE_GLUE_DPU_HOUR_USD",
        "price of a DPU hour, for the estimate in the metadata",
        "a price in US dollars, such as 0.44",
        default=0.44,
        ge=0,
        allow_inf_nan=False,
    )
    pipes_bucket: str = _setting(
        "BILLING_LAKE_PIPES_BUCKET",
        "bucket through which run and job talk",
        _BUCKET_FORM,
        _BUCKET,
        derived=lambda known: bucket_of(known["warehouse"]),
        shown_default="the warehouse's",
    )
    crawler_role: str | None = _setting(
        "BILLING_LAKE_GLUE_CRAWLER_ROLE",
        "role of Glue crawlers",
        "arn:aws:iam::<account>:role/<name>",
        r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+",
        default=None,
        shown_default="needed for `crawler: glue`",
    )
    crawled_database: str = _setting(
        "BILLING_LAKE_CRAWLED_DATABASE",
        "Glue database of crawled tables; two lakes of one account must not share it",
        "the name of a Glue database",
        r"[a-z0-9][a-z0-9_]{0,254}",
        default="billing_lake_crawled",
    )
    athena_workgroup: str = _setting(
        "BILLING_LAKE_ATHENA_WORKGROUP",
        "workgroup that queries go to",
        "a workgroup's name",
        r"[A-Za-z0-9._-]{1,128}",
        default="primary",
    )
    athena_output: str = _setting(
        "BILLING_LAKE_ATHENA_OUTPUT",
        "folder of the results of queries, unless the workgroup decides it",
        _FOLDER_FORM,
        _FOLDER,
        derived=lambda known: f"{known['warehouse']}/athena",
        shown_default="`<warehouse>/athena`",
    )

    @field_validator("warehouse", "athena_output")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("glue_job")
    @classmethod
    def _needed_for_glue(cls, value: str | None, known: ValidationInfo) -> str | None:
        if value is None and known.data.get("engine") == "glue":
            raise PydanticCustomError("missing", "needed for the engine glue")
        return value

    @property
    def warehouse_bucket(self) -> str:
        """Bucket of the warehouse."""
        return bucket_of(self.warehouse)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> AwsSettings:
        """Read the settings; a variable that is empty counts as not set.

        Raises:
            ConfigurationError: One is missing or cannot be right; the message begins with its name.
        """
        given = {name: value for name, value in environment.items() if value}
        region = given.get("AWS_DEFAULT_REGION") or _profile_region(given)
        if region:
            given.setdefault(variable_of("region"), region)
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            fault = error.errors()[0]
        # pydantic names a value that is set by its alias, and a default by its field.
        (field,) = (
            one for name, one in cls.model_fields.items() if fault["loc"][0] in {name, one.alias}
        )
        state = "not set" if fault["type"] == "missing" else repr(shown(fault["input"]))
        what = f"{field.alias} is {state}"
        raise ConfigurationError(what, remedy=f"Set it to {_extra(field, 'form')}")


def variable_of(field: str) -> str:
    """Return the environment variable of a field of `AwsSettings`: `warehouse` is `BILLING_LAKE_WAREHOUSE`."""
    return str(AwsSettings.model_fields[field].alias)


def bucket_of(uri: str) -> str:
    """Return the bucket of `s3://bucket/folder`."""
    return uri.removeprefix("s3://").partition("/")[0]


def settings_table() -> str:
    """Return the settings as the table of the documentation, in Markdown."""
    rows = ["| setting | meaning | default |", "|---|---|---|"]
    for field in AwsSettings.model_fields.values():
        default = _extra(field, "default")
        if default is None:
            default = "required" if field.is_required() else f"`{field.default}`"
        rows.append(f"| `{field.alias}` | {field.description} | {default} |")
    return "\n".join(rows)


def _extra(field: Any, name: str) -> Any:
    return field.json_schema_extra[name]


def _profile_region(environment: Mapping[str, str]) -> str | None:
    """Return the region of the AWS profile; looked for only where no variable names one, because it takes boto3."""
    if "AWS_PROFILE" not in environment or variable_of("region") in environment:
        return None
    import botocore.session

    profile = botocore.session.Session(profile=environment["AWS_PROFILE"])
    region: str | None = profile.get_config_variable("region")
    return region
