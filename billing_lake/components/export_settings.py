"""The settings of an export, as its YAML states them: what each is for, and which values it takes."""

import re
from typing import Annotated, get_args

import dagster as dg
from pydantic import Field, ValidationInfo, field_validator

from billing_lake.assets.export import SAME_CONTENT_UP_TO_MB
from billing_lake.components.limits import BillLimits
from billing_lake.components.setting import Natural, Positive, setting
from billing_lake.domain.deliveries import Layout
from billing_lake.domain.periods import is_period
from billing_lake.formats.registry import DEFAULT_FORMAT, FORMATS
from billing_lake.sql.tables import ALL_COSTS, LAKE_TABLES
from billing_lake.tables.base import Crawler
from billing_lake.tables.exports import TABLE_OUTPUTS, TableOutput

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


class ExportSettings(dg.Model, dg.Resolvable):
    """Says what is exported, where it lies, into which tables it goes and how it is watched."""

    name: Annotated[
        str,
        setting(
            "Name of the export: lower-case letters, digits and underscores. Asset keys, tables and jobs are named after it.",
            "cost_and_usage",
            text=_NAME.pattern,
        ),
    ]
    format: Annotated[
        str,
        setting(
            f"What the columns of its reports mean: one of {', '.join(FORMATS)}.",
            DEFAULT_FORMAT.name,
            text="|".join(FORMATS),
        ),
    ] = DEFAULT_FORMAT.name
    layout: Annotated[
        Layout,
        setting(
            "How the provider lays out its files: `create-new` (a folder for each delivery), `overwrite` (the same keys each "
            "time), `athena` (legacy CUR in Parquet, `year=`/`month=`) or `loose` (report files without a manifest).",
            "create-new",
            text="|".join(get_args(Layout)),
        ),
    ]
    prefix: Annotated[
        str,
        setting(
            "Folder that the export is delivered to, below the landing storage's root. May be empty.",
            "billing",
            text=".*",
        ),
    ] = ""
    report: Annotated[
        str,
        setting(
            "Name of the report in the provider's console, a folder below `prefix`. For `loose`: a pattern of the names of its files, "
            "such as `focus-*.csv.gz`, where others lie beside them; all files unless given.",
            "daily",
            text=".*",
        ),
    ] = ""
    columns: Annotated[
        dict[str, str],
        setting(
            "Columns that the export's SQL has renamed: their name in the files, and the column of the format that each is, by name "
            "or by role (`period_start`, `usage_start`, `usage_end`, `currency`, `cost`, `account`, `payer` and others).",
            {"my_cost": "cost", "team_account": "account"},
        ),
    ] = Field(default={})
    map_keys: Annotated[
        dict[str, list[str]],
        setting(
            "Keys of maps that become columns of their own, beside the map: `resource_tags_user_team` for `user_team` of "
            "`resource_tags`.",
            {"resource_tags": ["user_team"], "product": ["vcpu"]},
        ),
    ] = Field(default={})
    bucket: Annotated[
        str | list[str],
        setting(
            "Bucket that the provider writes to, as the manifests state it: others are refused; a list where a report moved from "
            "one to another. Any unless given, since the landing folder may be a copy.",
            "acme-billing-exports",
            ["acme-billing-2023", "acme-billing-exports"],
            text=".*",
        ),
    ] = ""
    outputs: Annotated[
        list[TableOutput],
        setting(
            "Tables that the export is loaded into: any of `hive`, `iceberg`, `s3_table`. All of them unless given.",
            ["iceberg"],
            minItems=1,
        ),
    ] = Field(default=list(TABLE_OUTPUTS))
    start: Annotated[
        str,
        setting(
            "First billing period, `YYYY-MM`; earlier deliveries are left alone.",
            "2024-01",
            text=r"\d{4}-(0[1-9]|1[0-2])",
        ),
    ] = "2024-01"
    end: Annotated[
        str,
        setting(
            "Last billing period, `YYYY-MM`, of an export that is delivered no longer; the open month unless given.",
            "2025-03",
            text=r"|\d{4}-(0[1-9]|1[0-2])",
        ),
    ] = ""
    namespace: Annotated[
        str,
        setting(
            "Namespace (database) of the tables in every catalog.", "billing", text=_NAME.pattern
        ),
    ] = "billing"
    table: Annotated[
        str,
        setting(
            "Name of its tables. Exports of one format that name the same one share it, each with rows of its own: the payers of an "
            "organisation are read as one. The export's own name unless given.",
            "payers",
            text=f"({_NAME.pattern})?",
        ),
    ] = ""
    owners: Annotated[
        list[str],
        setting(
            "Owners of the assets, jobs, schedule and sensor: e-mail addresses, or `team:<name>`.",
            ["team:finops"],
        ),
    ] = Field(default=[])
    sensor_interval_seconds: Annotated[
        Positive, setting("Least seconds between two looks at the export's folder.", 300, minimum=1)
    ] = 300
    sensor_runs_per_tick: Annotated[
        Positive,
        setting(
            "Most runs that one tick of the sensor asks for; the rest waits for the next.",
            5,
            minimum=1,
        ),
    ] = 5
    quiet_seconds: Annotated[
        Natural,
        setting(
            "For how long nothing must have been written before the sensor asks for a delivery of which nothing says that it "
            "is finished: `overwrite`, `loose`, and files newer than their manifest. A load by hand of `overwrite` waits, "
            "too, where files are newer than the manifest.",
            900,
            minimum=0,
        ),
    ] = 900
    sensor_running: Annotated[
        bool, setting("Whether the sensor runs without being switched on in the UI.")
    ] = False
    static_files: Annotated[
        list[str],
        setting(
            "Files that `iceberg_static` loads where its run config names none: keys below the landing storage's root.",
            ["archive/2023-11-00001.csv.gz"],
        ),
    ] = Field(default=[])
    static: Annotated[
        bool,
        setting(
            "Whether there is an asset `iceberg_static` without `static_files` too, to be given files by its run config."
        ),
    ] = False
    run_tags: Annotated[
        dict[str, str],
        setting(
            "Tags of the runs of the export's jobs, as the run launcher reads them: the size of a run's task on ECS, for one.",
            {"ecs/cpu": "4096", "ecs/memory": "8192"},
        ),
    ] = Field(default={})
    single_run_backfill: Annotated[
        bool,
        setting(
            "Whether a backfill of a range is one run. When false, each billing period is a run of its own: slower, and "
            "several at a time."
        ),
    ] = True

    crawler: Annotated[
        Crawler,
        setting(
            "What makes the crawled table: the lake itself (`built_in`: a second, no cost), or a crawler of AWS Glue (`glue`, "
            "deployment `aws` only: minutes, and charged by Glue). Types come from the column dictionary either way.",
            "built_in",
            text="|".join(get_args(Crawler)),
        ),
    ] = "built_in"

    keep_days: Annotated[
        Positive,
        setting(
            "Days for which a state of an Iceberg table can be read again after a load replaced it; maintenance removes older "
            "history, but for the last loads of each billing period and what a tag names. Of exports that share a table, the longest "
            "holds.",
            30,
            minimum=1,
        ),
    ] = 30

    keep_loads: Annotated[
        Positive,
        setting(
            "Loads of each billing period that maintenance keeps, however old. Of exports that share a table, the most hold.",
            3,
            minimum=1,
        ),
    ] = 3

    maintenance_running: Annotated[
        bool, setting("Whether maintenance runs weekly without being switched on in the UI.")
    ] = False

    fresh_hours: Annotated[
        Natural,
        setting(
            "Hours within which the tables are to be loaded again, while the export goes on: the UI shows them as overdue "
            "after that (a freshness policy). 0 for no such promise.",
            36,
            minimum=0,
        ),
    ] = 36

    counts: Annotated[
        bool,
        setting(
            "Whether its costs count in `all_costs`. Switch it off for one of two exports that deliver the same bill, as during a move "
            "from one format to another.",
            True,  # noqa: FBT003 -- an example
            text="",
        ),
    ] = True

    reconcile: Annotated[
        str,
        setting(
            "Another export of the same payer, with which costs are compared by account and service: check `reconcile` of `all_costs`.",
            "cost_and_usage",
            text=f"({_NAME.pattern})?",
        ),
    ] = ""
    same_content_up_to_mb: Annotated[
        Natural,
        setting(
            "Megabytes of a delivery's files up to which each load also compares every cell of each table with them (check "
            "`same_content`), which the run's process reads again: that takes about as long as the load. The check can be run by "
            "itself for larger ones. With 0 no load compares cells.",
            1_000,
            minimum=0,
        ),
    ] = SAME_CONTENT_UP_TO_MB

    checks: Annotated[
        BillLimits,
        setting(
            "From where on the checks of the bill fail.",
            {"untagged_percent": 10, "payers": ["000123456789"]},
        ),
    ] = Field(default_factory=BillLimits)

    @field_validator("name", "namespace", "table")
    @classmethod
    def _is_name(cls, value: str, field: ValidationInfo) -> str:
        if _NAME.fullmatch(value) is None and (value or field.field_name != "table"):
            msg = f"{value!r} is no name: a letter first, then lower-case letters, digits and underscores"
            raise ValueError(msg)
        return value

    @field_validator("name", "table")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if value in (*LAKE_TABLES, ALL_COSTS):
            msg = f"{value!r} is the name of a table that the lake keeps about all exports"
            raise ValueError(msg)
        return value

    @field_validator("outputs")
    @classmethod
    def _is_chosen(cls, value: list[TableOutput]) -> list[TableOutput]:
        if not value:
            msg = f"choose at least one of {', '.join(TABLE_OUTPUTS)}"
            raise ValueError(msg)
        return value

    @field_validator("start", "end")
    @classmethod
    def _is_period(cls, value: str, field: ValidationInfo) -> str:
        if not is_period(value) and (value or field.field_name == "start"):
            msg = f"{value!r} is not a billing period; write it YYYY-MM, in quotes"
            raise ValueError(msg)
        return value

    @field_validator("owners")
    @classmethod
    def _are_owners(cls, value: list[str]) -> list[str]:
        try:
            dg.AssetSpec("any", owners=value)
        except dg.DagsterInvalidDefinitionError as error:
            raise ValueError(str(error)) from error
        return value
