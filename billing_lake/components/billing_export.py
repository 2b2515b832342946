"""The component `BillingExport`: one configured export becomes its assets, checks, sensor and jobs."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, cast, get_args

import dagster as dg
from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from billing_lake.assets.crawler_table import build_crawler_table
from billing_lake.assets.delivery import build_delivery
from billing_lake.assets.export import SAME_CONTENT_UP_TO_MB, Export
from billing_lake.assets.iceberg_static import build_iceberg_static
from billing_lake.assets.raw_reports import build_raw_reports
from billing_lake.assets.tables import build_table
from billing_lake.checks.schema_diff import build_schema_diff
from billing_lake.checks.table_proofs import build_static_proofs, build_table_proofs
from billing_lake.components.broken_exports import (
    ExportNotLoadedError,
    Origin,
    Place,
    keeping_faults,
    kept_fault,
    not_loaded,
)
from billing_lake.components.lake import lake_resources
from billing_lake.components.scaffolding import BillingExportScaffolder
from billing_lake.domain.deliveries import Layout
from billing_lake.domain.errors import BillingLakeError, ConfigurationError
from billing_lake.domain.periods import is_period
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.registry import DEFAULT, FORMATS, format_named
from billing_lake.jobs.load import build_load_job
from billing_lake.jobs.orphans import build_orphans_job
from billing_lake.jobs.rebuild import build_rebuild_job
from billing_lake.jobs.s3_tables import s3_table_create, s3_table_delete
from billing_lake.loads.exports import TABLE_OUTPUTS, TableOutput
from billing_lake.sensors.new_reports import build_new_reports
from billing_lake.tables.base import Crawler

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")

_TEMPLATE = r"\{\{"
"""Begins an expression that Dagster resolves when it loads the YAML; a text with one may stand for any value."""


def _setting(
    description: str, *examples: object, text: str = ".*", **schema: object
) -> dg.Resolver:
    """Describe a setting, for people and in the JSON schema that `dg check yaml` and editors read.

    Args:
        description: What it is for.
        examples: Values that it may have.
        text: Pattern of the texts that are a value of it; none where only numbers, lists and the like are.
        schema: Further limits, in words of JSON schema.
    """
    resolver: dg.Resolver = dg.Resolver.default(
        description=description,
        examples=list(examples) or None,
        json_schema_extra={"pattern": f"^({text})$|{_TEMPLATE}" if text else _TEMPLATE, **schema},
    )
    return resolver


_REPORT_NEEDED = {
    "if": {"properties": {"layout": {"const": "loose"}}, "required": ["layout"]},
    "else": {"required": ["report"], "properties": {"report": {"minLength": 1}}},
}
"""What settings need of each other, in JSON schema."""


@dg.scaffold_with(BillingExportScaffolder)
class BillingExport(dg.Component, dg.Model, dg.Resolvable):
    """A billing export that a cloud provider delivers, loaded into tables that equal it.

    Makes, under the export's name: the external asset `delivery`; the assets `raw_reports`, `crawler_table` and one for each of
    `outputs`; `iceberg_static` where `static` or `static_files` asks for it; the check `schema_diff` before and the proofs after
    each table; the sensor `<name>_new_reports`; the jobs `<name>_load`, `<name>_rebuild_tables` and `<name>_remove_orphans`. A
    second payer or format is a second component. What all of them share (the lake, as the resource `billing_lake`, and its IO manager)
    has names of its own, so that a project's other assets keep theirs.
    """

    _origin: Origin | None = PrivateAttr(default=None)

    name: Annotated[
        str,
        _setting(
            "Name of the export: lower-case letters, digits and underscores. Asset keys, tables and jobs are named after it.",
            "cost_and_usage",
            text=_NAME.pattern,
        ),
    ]
    format: Annotated[
        str,
        _setting(
            f"What the columns of its reports mean: one of {', '.join(FORMATS)}.",
            DEFAULT.name,
            text="|".join(FORMATS),
        ),
    ] = DEFAULT.name
    layout: Annotated[
        Layout,
        _setting(
            "How the provider lays out its files: `create-new` (legacy CUR, a folder for each delivery), `overwrite` (legacy "
            "CUR, the same keys each time) or `loose` (report files without a manifest).",
            "create-new",
            text="|".join(get_args(Layout)),
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
        str | list[str],
        _setting(
            "Bucket that the provider writes to, as the manifests state it; a list where a report moved from one to another. "
            "Needed where the landing folder is a copy of a bucket; the landing bucket's or folder's own name unless given.",
            "acme-billing-exports",
            ["acme-billing-2023", "acme-billing-exports"],
        ),
    ] = ""
    outputs: Annotated[
        list[TableOutput],
        _setting(
            "Tables that the export is loaded into: any of `hive`, `iceberg`, `s3_table`. All of them unless given.",
            ["iceberg"],
            text="",
            minItems=1,
        ),
    ] = Field(default=list(TABLE_OUTPUTS))
    start: Annotated[
        str,
        _setting(
            "First billing period, `YYYY-MM`; earlier deliveries are left alone.",
            "2024-01",
            text=r"\d{4}-(0[1-9]|1[0-2])",
        ),
    ] = "2024-01"
    end: Annotated[
        str,
        _setting(
            "Last billing period, `YYYY-MM`, of an export that is delivered no longer; the open month unless given.",
            "2025-03",
            text=r"|\d{4}-(0[1-9]|1[0-2])",
        ),
    ] = ""
    namespace: Annotated[
        str,
        _setting(
            "Namespace (database) of the tables in every catalog.", "billing", text=_NAME.pattern
        ),
    ] = "billing"
    owners: Annotated[
        list[str],
        _setting(
            "Owners of the assets: e-mail addresses, or `team:<name>`.", ["team:finops"], text=""
        ),
    ] = Field(default=[])
    sensor_interval_seconds: Annotated[
        int,
        _setting(
            "Least seconds between two looks at the export's folder.", 300, text="", minimum=1
        ),
    ] = 300
    sensor_runs_per_tick: Annotated[
        int,
        _setting(
            "Most runs that one tick of the sensor asks for; the rest waits for the next.",
            5,
            text="",
            minimum=1,
        ),
    ] = 5
    quiet_seconds: Annotated[
        int,
        _setting(
            "For how long nothing must have been written before the sensor asks for a delivery of which nothing says that it "
            "is finished: `overwrite`, `loose`, and files newer than their manifest. A load by hand of `overwrite` waits, "
            "too, where files are newer than the manifest.",
            900,
            text="",
            minimum=0,
        ),
    ] = 900
    sensor_running: Annotated[
        bool, _setting("Whether the sensor runs without being switched on in the UI.", text="")
    ] = False
    static_files: Annotated[
        list[str],
        _setting(
            "Files that `iceberg_static` loads where its run config names none: keys below the landing storage's root.",
            ["archive/2023-11-00001.csv.gz"],
            text="",
        ),
    ] = Field(default=[])
    static: Annotated[
        bool,
        _setting(
            "Whether there is an asset `iceberg_static` without `static_files` too, to be given files by its run config.",
            text="",
        ),
    ] = False
    single_run_backfill: Annotated[
        bool,
        _setting(
            "Whether a backfill of a range is one run. When false, each billing period is a run of its own: slower, and "
            "several at a time.",
            text="",
        ),
    ] = True

    crawler: Annotated[
        Crawler,
        _setting(
            "What makes the crawled table: the lake itself (`built_in`: a second, no cost), or a crawler of AWS Glue (`glue`, "
            "deployment `aws` only: minutes, and charged by Glue). Types come from the column dictionary either way.",
            "built_in",
            text="|".join(get_args(Crawler)),
        ),
    ] = "built_in"

    fresh_hours: Annotated[
        int,
        _setting(
            "Hours within which the tables are to be loaded again, while the export goes on: the UI shows them as overdue "
            "after that (a freshness policy). 0 for no such promise.",
            36,
            text="",
            minimum=0,
        ),
    ] = 36

    same_content_up_to_mb: Annotated[
        int,
        _setting(
            "Megabytes of a delivery's files up to which each load also compares every cell of each table with them (check "
            "`same_content`), which the run's process reads again: that takes about as long as the load. The check can be run by "
            "itself for larger ones. With 0 no load compares cells.",
            1_000,
            text="",
            minimum=0,
        ),
    ] = SAME_CONTENT_UP_TO_MB

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

    @field_validator("start", "end")
    @classmethod
    def _is_period(cls, value: str, field: ValidationInfo) -> str:
        if not is_period(value) and (value or field.field_name == "start"):
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

    @field_validator("quiet_seconds", "fresh_hours", "same_content_up_to_mb")
    @classmethod
    def _is_duration(cls, value: int) -> int:
        if value < 0:
            msg = f"{value} is less than 0"
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

    @classmethod
    def model(cls) -> type[BaseModel]:
        """Return the model of the settings in YAML."""
        model = super().model()
        extra = cast("dict[str, Any]", model.model_config["json_schema_extra"])
        extra.update(_REPORT_NEEDED)
        return model

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model that YAML is read by: one that takes what is wrong, for `load` to say it."""
        return keeping_faults(cls.model())

    @classmethod
    def load(
        cls, attributes: BaseModel | None, context: dg.ComponentLoadContext
    ) -> "BillingExport":
        """Load the export that YAML describes; settings that are wrong are kept for `build_defs` to say."""
        place = Place.of(context)
        fault = None
        try:
            if (kept := kept_fault(attributes)) is not None:
                raise kept
            made = super().load(attributes, context)
            _ = made.export
        except (ValidationError, BillingLakeError) as error:
            made = cls.model_construct()
            fault = place.fault(error, cls.model())
        made._origin = Origin(place, fault)  # noqa: SLF001 -- its own
        return made

    @property
    def origin(self) -> Origin | None:
        """The YAML that it was loaded from, and what is wrong with that; None where it was made in Python."""
        return self._origin

    @property
    def export(self) -> Export:
        """The export as the definitions know it.

        Raises:
            ConfigurationError: Settings contradict each other.
        """
        if self.origin is not None and self.origin.fault is not None:
            raise self.origin.fault
        return Export(
            location=ExportLocation(
                self.name,
                self.layout,
                self.prefix,
                self.report,
                self._buckets,
                self.quiet_seconds,
                format_named(self.format),
            ),
            outputs=tuple(output for output in TABLE_OUTPUTS if output in self.outputs),
            start=self.start,
            end=self.end or None,
            namespace=self.namespace,
            owners=tuple(self.owners),
            single_run_backfill=self.single_run_backfill,
            crawler=self.crawler,
            fresh_hours=self.fresh_hours,
            same_content_up_to_mb=self.same_content_up_to_mb,
        )

    @property
    def _buckets(self) -> tuple[str, ...]:
        named = [self.bucket] if isinstance(self.bucket, str) else self.bucket
        return tuple(bucket for bucket in named if bucket)

    @property
    def definitions(self) -> dg.Definitions:
        """The export's definitions, without the lake that they work on."""
        export = self.export
        static = self.static or bool(self.static_files)
        return dg.Definitions(
            assets=[
                build_delivery(export),
                build_raw_reports(export),
                build_crawler_table(export),
                *(build_table(export, output) for output in export.outputs),
                *([build_iceberg_static(export, self.static_files)] if static else []),
            ],
            asset_checks=[
                build_schema_diff(export),
                *(build_table_proofs(export, output) for output in export.outputs),
                *([build_static_proofs(export)] if static else []),
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

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the export's definitions, and what it shares with the project's other exports."""
        exports = [self]
        if self.origin is not None:
            found = context.component_tree.get_all_components(BillingExport)
            exports = [one for one in found if one.origin is None or one.origin.fault is None]
            fault = self.origin.fault or self._namesakes(exports)
            if fault is not None:
                return not_loaded(fault, self.origin.place)
        try:
            resources = lake_resources()
        except ConfigurationError as error:
            # Not wrapped by Dagster, so that the sentence comes first.
            raise ExportNotLoadedError(error.what, remedy=error.how) from error
        # One of the exports brings the jobs that belong to none: Dagster refuses two jobs of one name.
        names = [one.name for one in exports]
        having = [one.name for one in exports if "s3_table" in one.outputs]
        first = next((name for name in having if names.count(name) == 1), None)
        jobs = [s3_table_create, s3_table_delete] if first == self.name else []
        return dg.Definitions.merge(
            self.definitions, dg.Definitions(jobs=jobs, resources=resources)
        )

    def _namesakes(self, exports: Sequence["BillingExport"]) -> ExportNotLoadedError | None:
        """Say which exports of the project have this one's name: which of them is meant cannot be known, so none is loaded."""
        places = sorted(
            one.origin.place.at("name")
            for one in exports
            if one.origin is not None and one.name == self.name
        )
        if len(places) == 1:
            return None
        what = f"Several exports have the name {self.name}: {'; '.join(places)}"
        return ExportNotLoadedError(what, remedy="Give each a `name` of its own; none is loaded")
