"""The component `BillingExport`: one configured export becomes its assets, checks, sensor and jobs."""

import re
from typing import Annotated, Literal

import dagster as dg
from pydantic import Field, field_validator

from billing_lake.assets.crawler_table import build_crawler_table
from billing_lake.assets.export import TABLE_OUTPUTS, Export, TableOutput
from billing_lake.assets.iceberg_static import build_iceberg_static
from billing_lake.assets.raw_reports import build_raw_reports
from billing_lake.assets.tables import build_table
from billing_lake.catalogs.base import Crawler
from billing_lake.checks.schema_diff import build_schema_diff
from billing_lake.checks.table_proofs import build_static_proofs, build_table_proofs
from billing_lake.domain.layouts import ExportLocation
from billing_lake.domain.periods import is_period
from billing_lake.jobs.load import build_load_job
from billing_lake.jobs.orphans import build_orphans_job
from billing_lake.jobs.rebuild import build_rebuild_job
from billing_lake.sensors.new_reports import build_new_reports

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


def _setting(description: str, *examples: object) -> dg.Resolver:
    resolver: dg.Resolver = dg.Resolver.default(
        description=description, examples=list(examples) or None
    )
    return resolver


class BillingExport(dg.Component, dg.Model, dg.Resolvable):
    """A billing export that a cloud provider delivers, loaded into tables that equal it.

    Makes, under the export's name: the assets `raw_reports`, `crawler_table`, one for each of `outputs`, and
    `iceberg_static`; the check `schema_diff` before and the proofs after each table; the sensor `<name>_new_reports`; the
    jobs `<name>_load`, `<name>_rebuild_iceberg_table` and `<name>_remove_orphans`. A second payer or format is a second
    component.
    """

    name: Annotated[
        str,
        _setting(
            "Name of the export: lower-case letters, digits and underscores. Asset keys, tables and jobs are named after it.",
            "cost_and_usage",
        ),
    ]
    layout: Annotated[
        Literal["create-new", "overwrite", "loose"],
        _setting(
            "How the provider lays out its files: `create-new` (legacy CUR, a folder for each delivery), `overwrite` (legacy "
            "CUR, the same keys each time) or `loose` (report files without a manifest).",
            "create-new",
        ),
    ]
    prefix: Annotated[
        str,
        _setting(
            "Folder that the export is delivered to, below the landing storage's root. May be empty.",
            "billing",
        ),
    ] = ""
    report: Annotated[
        str,
        _setting(
            "Name of the report in the provider's console, a folder below `prefix`. Not used by `loose`.",
            "daily",
        ),
    ] = ""
    bucket: Annotated[
        str,
        _setting(
            "Bucket that the provider writes to, as the manifests state it. Needed where the landing folder is a copy of "
            "a bucket; the folder's own name unless given.",
            "acme-billing-exports",
        ),
    ] = ""
    outputs: Annotated[
        list[TableOutput],
        _setting(
            "Tables that the export is loaded into: any of `hive`, `iceberg`, `s3_table`. All of them unless given.",
            ["iceberg"],
        ),
    ] = Field(default=list(TABLE_OUTPUTS))
    start: Annotated[
        str,
        _setting("First billing period, `YYYY-MM`; earlier deliveries are left alone.", "2024-01"),
    ] = "2024-01"
    namespace: Annotated[
        str, _setting("Namespace (database) of the tables in every catalog.", "billing")
    ] = "billing"
    owners: Annotated[
        list[str],
        _setting("Owners of the assets: e-mail addresses, or `team:<name>`.", ["team:finops"]),
    ] = Field(default=[])
    sensor_interval_seconds: Annotated[
        int, _setting("Least seconds between two looks at the export's folder.", 300)
    ] = 300
    sensor_runs_per_tick: Annotated[
        int,
        _setting("Most runs that one tick of the sensor asks for; the rest waits for the next.", 5),
    ] = 5
    quiet_seconds: Annotated[
        int,
        _setting(
            "For how long nothing must have been written before the sensor asks for a delivery of which nothing says that it "
            "is finished: `overwrite`, `loose`, and files newer than their manifest. A load by hand of `overwrite` waits, "
            "too, where files are newer than the manifest.",
            900,
        ),
    ] = 900
    sensor_running: Annotated[
        bool, _setting("Whether the sensor runs without being switched on in the UI.")
    ] = False
    static_files: Annotated[
        list[str],
        _setting(
            "Files that `iceberg_static` loads where its run config names none: keys below the landing storage's root.",
            ["archive/2023-11-00001.csv.gz"],
        ),
    ] = Field(default=[])
    single_run_backfill: Annotated[
        bool,
        _setting(
            "Whether a backfill of a range is one run. When false, each billing period is a run of its own: slower, and "
            "several at a time.",
        ),
    ] = True

    crawler: Annotated[
        Crawler,
        _setting(
            "What makes the crawled table: the lake itself (`built_in`: a second, no cost), or a crawler of AWS Glue (`glue`, "
            "deployment `aws` only: minutes, and charged by Glue). Types come from the column dictionary either way.",
            "built_in",
        ),
    ] = "built_in"

    @field_validator("name", "namespace")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if _NAME.fullmatch(value) is None:
            msg = f"{value!r} is no name: a letter first, then lower-case letters, digits and underscores"
            raise ValueError(msg)
        return value

    @field_validator("outputs")
    @classmethod
    def _is_chosen(cls, value: list[TableOutput]) -> list[TableOutput]:
        if not value:
            msg = f"choose at least one of {', '.join(TABLE_OUTPUTS)}"
            raise ValueError(msg)
        return value

    @field_validator("start")
    @classmethod
    def _is_period(cls, value: str) -> str:
        if not is_period(value):
            msg = f"{value!r} is no billing period; write it YYYY-MM, in quotes"
            raise ValueError(msg)
        return value

    @field_validator("sensor_interval_seconds", "sensor_runs_per_tick")
    @classmethod
    def _is_positive(cls, value: int) -> int:
        if value < 1:
            msg = f"{value} is less than 1"
            raise ValueError(msg)
        return value

    @field_validator("quiet_seconds")
    @classmethod
    def _is_duration(cls, value: int) -> int:
        if value < 0:
            msg = f"{value} is less than 0"
            raise ValueError(msg)
        return value

    @property
    def export(self) -> Export:
        """The export as the definitions know it."""
        return Export(
            location=ExportLocation(
                self.name, self.layout, self.prefix, self.report, self.bucket, self.quiet_seconds
            ),
            outputs=tuple(output for output in TABLE_OUTPUTS if output in self.outputs),
            start=self.start,
            namespace=self.namespace,
            owners=tuple(self.owners),
            single_run_backfill=self.single_run_backfill,
            crawler=self.crawler,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """Build the export's definitions."""
        export = self.export
        return dg.Definitions(
            assets=[
                build_raw_reports(export),
                build_crawler_table(export),
                *(build_table(export, output) for output in export.outputs),
                build_iceberg_static(export, self.static_files),
            ],
            asset_checks=[
                build_schema_diff(export),
                *(build_table_proofs(export, output) for output in export.outputs),
                build_static_proofs(export),
            ],
            jobs=[build_load_job(export), build_rebuild_job(export), build_orphans_job(export)],
            sensors=[
                build_new_reports(
                    export,
                    interval_seconds=self.sensor_interval_seconds,
                    runs_per_tick=self.sensor_runs_per_tick,
                    running=self.sensor_running,
                )
            ],
        )
