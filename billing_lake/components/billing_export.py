"""The component `BillingExport`: one configured export becomes its assets, checks, sensor and jobs."""

from collections.abc import Sequence
from typing import Any, cast

import dagster as dg
from pydantic import BaseModel

from billing_lake.assets.all_costs import build_all_costs
from billing_lake.assets.crawler_table import build_crawler_table
from billing_lake.assets.delivery import build_delivery
from billing_lake.assets.export import DagsterExport
from billing_lake.assets.iceberg_static import build_iceberg_static
from billing_lake.assets.ledger import build_ledger
from billing_lake.assets.raw_reports import build_raw_reports
from billing_lake.assets.tables import build_table
from billing_lake.checks.all_costs import build_all_costs_checks
from billing_lake.checks.readable import build_readable
from billing_lake.checks.schema_diff import build_schema_diff
from billing_lake.checks.table_proofs import build_static_proofs, build_table_proofs
from billing_lake.components.broken_exports import (
    ExportNotLoadedError,
    YamlComponent,
    not_loaded,
)
from billing_lake.components.export_settings import ExportSettings
from billing_lake.components.lake import lake_resources
from billing_lake.components.scaffolding import BillingExportScaffolder
from billing_lake.domain.errors import ConfigurationError
from billing_lake.formats.chosen_columns import as_exported
from billing_lake.formats.locations import ExportLocation
from billing_lake.formats.registry import format_named
from billing_lake.jobs.load import build_load_job
from billing_lake.jobs.maintenance import build_maintenance_job, build_maintenance_schedule
from billing_lake.jobs.rebuild import build_rebuild_job
from billing_lake.jobs.s3_tables import s3_table_create, s3_table_delete
from billing_lake.sensors.new_reports import build_new_reports
from billing_lake.tables.base import KeptHistory
from billing_lake.tables.exports import TABLE_OUTPUTS, refuse_static_table, refuse_two_formats


def all_costs_defs(exports: Sequence["BillingExport"]) -> dg.Definitions:
    """Return the view of all costs over ``exports``, and its checks."""
    known = [one.export for one in exports]
    return dg.Definitions(
        assets=[build_all_costs(known)], asset_checks=[build_all_costs_checks(known)]
    )


_REPORT_NEEDED = {
    "if": {"properties": {"layout": {"const": "loose"}}, "required": ["layout"]},
    "else": {"required": ["report"], "properties": {"report": {"minLength": 1}}},
}
"""What settings need of each other, in JSON schema."""


@dg.scaffold_with(BillingExportScaffolder)
class BillingExport(YamlComponent, ExportSettings):
    """A billing export that a cloud provider delivers, loaded into tables that equal it.

    Makes, under the export's name: the external asset `delivery`; the assets `raw_reports`, `crawler_table` and one for each of
    `outputs`; the external assets `deliveries` and `restatements`; `iceberg_static` where `static` or `static_files` asks for it; the
    checks `readable` of the delivery, `schema_diff` before and the proofs after each table; the sensor `<name>_new_reports`; the
    jobs `<name>_load`, `<name>_rebuild_tables` and `<name>_maintenance` with its schedule. A second payer or format is a second
    component. What all of them share (the lake, as the resource `billing_lake`, and its IO manager) has names of its own, so that a
    project's other assets keep theirs.
    """

    @classmethod
    def model(cls) -> type[BaseModel]:
        """Return the model of the settings in YAML."""
        model = super().model()
        extra = cast("dict[str, Any]", model.model_config["json_schema_extra"])
        extra.update(_REPORT_NEEDED)
        return model

    def require_sound(self) -> None:
        """See `YamlComponent`."""
        _ = self.export

    @property
    def export(self) -> DagsterExport:
        """The export as the definitions know it.

        Raises:
            ConfigurationError: Settings contradict each other.
        """
        if self.fault is not None:
            raise self.fault
        return DagsterExport(
            location=ExportLocation(
                self.name,
                self.layout,
                self.prefix,
                self.report,
                self._buckets,
                self.quiet_seconds,
                as_exported(format_named(self.format), self.columns, self.map_keys),
            ),
            outputs=tuple(output for output in TABLE_OUTPUTS if output in self.outputs),
            start=self.start,
            end=self.end or None,
            namespace=self.namespace,
            table_name=self.table,
            owners=tuple(self.owners),
            single_run_backfill=self.single_run_backfill,
            crawler=self.crawler,
            counts=self.counts,
            reconcile=self.reconcile,
            fresh_hours=self.fresh_hours,
            same_content_up_to_mb=self.same_content_up_to_mb,
            run_tags=self.run_tags,
            limits=self.checks.limits,
        )

    @property
    def _buckets(self) -> tuple[str, ...]:
        named = [self.bucket] if isinstance(self.bucket, str) else self.bucket
        return tuple(bucket for bucket in named if bucket)

    @property
    def definitions(self) -> dg.Definitions:
        """The export's definitions, without the lake that they work on; it shares its tables with no other."""
        return self.definitions_beside([])

    @property
    def has_static(self) -> bool:
        """Say whether it has a table of static files."""
        return self.static or bool(self.static_files)

    def definitions_beside(self, others: Sequence["BillingExport"]) -> dg.Definitions:
        """Return the export's definitions, without the lake that they work on.

        Args:
            others: The project's exports; the history of a table is kept as long as any of those that share it asks for, and none
                may have a report file of this one, if the costs of both count.
        """
        export = self.export
        sharing = [self, *(one for one in others if one.export.table == export.table)]
        history = KeptHistory(
            days=max(one.keep_days for one in sharing), loads=max(one.keep_loads for one in sharing)
        )
        maintenance = build_maintenance_job(export, history)
        counted = [one.export for one in others if one.counts and one.name != export.name]
        elsewhere = counted if export.counts else []
        return dg.Definitions(
            assets=[
                build_delivery(export),
                build_raw_reports(export, elsewhere),
                build_crawler_table(export),
                *(build_table(export, output) for output in export.outputs),
                *build_ledger(export),
                *([build_iceberg_static(export, self.static_files)] if self.has_static else []),
            ],
            asset_checks=[
                build_readable(export),
                build_schema_diff(export),
                *(build_table_proofs(export, output) for output in export.outputs),
                *([build_static_proofs(export)] if self.has_static else []),
            ],
            jobs=[build_load_job(export), build_rebuild_job(export), maintenance],
            schedules=[
                build_maintenance_schedule(export, maintenance, running=self.maintenance_running)
            ],
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
            exports = [one for one in found if one.fault is None]
            fault = self.fault or self._namesakes(exports) or self._misfit(exports)
            if fault is not None:
                return not_loaded(fault, self.origin.place)
        try:
            resources = lake_resources()
        except ConfigurationError as error:
            # Not wrapped by Dagster, so that the sentence comes first.
            raise ExportNotLoadedError(error.what, remedy=error.how) from error
        # One of the exports brings what belongs to none: Dagster refuses two jobs of one name.
        names = [one.name for one in exports]
        alone = [one for one in exports if names.count(one.name) == 1]
        with_s3_table = [one.name for one in alone if "s3_table" in one.outputs]
        jobs = [s3_table_create, s3_table_delete] if with_s3_table[:1] == [self.name] else []
        is_first = [one.name for one in alone[:1]] == [self.name]
        return dg.Definitions.merge(
            self.definitions_beside(exports),
            dg.Definitions(jobs=jobs, resources=resources),
            all_costs_defs(exports) if is_first else dg.Definitions(),
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

    def _misfit(self, exports: Sequence["BillingExport"]) -> ExportNotLoadedError | None:
        """Say which export of another format goes into the same table, or whose static files do; such an export is not loaded."""
        try:
            refuse_two_formats(self.export, [one.export for one in exports])
            refuse_static_table(self.export, [one.export for one in exports if one.has_static])
        except ConfigurationError as error:
            return None if self.origin is None else self.origin.place.fault(error, self.model())
        return None
