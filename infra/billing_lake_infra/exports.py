"""The exports: CUR 2.0, FOCUS 1.2 and the legacy report, delivered into the landing bucket.

Their types exist in us-east-1 only, so they have a stack of their own there; the bucket may be in any region. They belong to the
payer: where the lake is in another account, this stack alone is deployed with the payer's credentials.
"""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_bcmdataexports as bcm
from aws_cdk import aws_cur as cur
from constructs import Construct

from billing_lake.formats.aws_exports import (
    CUR2_COLUMNS,
    CUR2_OPTIONAL_COLUMNS,
    FOCUS_COLUMNS,
    export_query,
)
from billing_lake_infra.names import EXPORTS_FOLDER, Names
from billing_lake_infra.settings import Settings

REGION = "us-east-1"
"""The one region that has these types."""


_FILES = {
    "csv": {"format": "TEXT_OR_CSV", "compression": "GZIP"},
    "parquet": {"format": "PARQUET", "compression": "PARQUET"},
}


class ExportsStack(cdk.Stack):
    """What AWS delivers: an export for each kind that the settings name."""

    def __init__(self, scope: Construct, settings: Settings, **given: Any) -> None:
        super().__init__(scope, f"{settings.name}-exports", **given)
        self.settings = settings
        self.names = Names(settings)
        self.lake_region = settings.region
        self.bucket = self.names.landing
        if not settings.region:
            # `AWS::Region` would be this stack's own.
            parameter = cdk.CfnParameter(
                self, "LakeRegion", description="Region of the lake's buckets"
            )
            self.lake_region = parameter.value_as_string
            self.bucket = f"{settings.name}-exports-{self.names.account}-{self.lake_region}"
        if "cur2" in settings.exports:
            self._cur2()
        if "focus" in settings.exports:
            self._focus()
        if "legacy" in settings.exports:
            self._legacy()

    def _cur2(self) -> None:
        switches = {
            "INCLUDE_RESOURCES": self.settings.resources,
            "INCLUDE_SPLIT_COST_ALLOCATION_DATA": self.settings.split_costs,
            "INCLUDE_MANUAL_DISCOUNT_COMPATIBILITY": False,
        }
        columns = [*CUR2_COLUMNS]
        for switch, brought in CUR2_OPTIONAL_COLUMNS.items():
            columns += brought if switches.get(switch) else []
        configuration = {name: str(on).upper() for name, on in switches.items()}
        self._data_export("cur2", "COST_AND_USAGE_REPORT", columns, configuration)

    @property
    def _is_elsewhere(self) -> bool:
        """Whether the buckets belong to another account than the exports."""
        return self.settings.payer not in {"", self.settings.account}

    def _focus(self) -> None:
        self._data_export("focus", "FOCUS_1_2_AWS", [*FOCUS_COLUMNS], {})

    def _data_export(
        self, kind: str, table: str, columns: list[str], configuration: dict[str, str]
    ) -> None:
        made = bcm.CfnExport
        configuration = {"TIME_GRANULARITY": self.settings.granularity, **configuration}
        made(
            self,
            kind.capitalize(),
            export=made.ExportProperty(
                name=self.names.export(kind),
                description=f"For Billing Lake {self.settings.name}",
                data_query=made.DataQueryProperty(
                    query_statement=export_query(table, columns),
                    table_configurations={table: configuration},
                ),
                destination_configurations=made.DestinationConfigurationsProperty(
                    s3_destination=made.S3DestinationProperty(
                        s3_bucket=self.bucket,
                        s3_prefix=EXPORTS_FOLDER,
                        s3_region=self.lake_region,
                        # AWS takes a bucket for one of the payer's own unless it is told whose it is.
                        s3_bucket_owner=self.settings.account if self._is_elsewhere else None,
                        s3_output_configurations=made.S3OutputConfigurationsProperty(
                            # Each refresh is a folder of its own: nothing is overwritten under a reader.
                            overwrite="CREATE_NEW_REPORT",
                            **_FILES[self.settings.files],
                            output_type="CUSTOM",
                        ),
                    )
                ),
                refresh_cadence=made.RefreshCadenceProperty(frequency="SYNCHRONOUS"),
            ),
        )

    def _legacy(self) -> None:
        wanted = {
            "RESOURCES": self.settings.resources,
            "SPLIT_COST_ALLOCATION_DATA": self.settings.split_costs,
        }
        cur.CfnReportDefinition(
            self,
            "Legacy",
            report_name=self.names.export("legacy"),
            time_unit=self.settings.granularity,
            format="textORcsv",
            compression="GZIP",
            additional_schema_elements=[name for name, on in wanted.items() if on],
            s3_bucket=self.bucket,
            s3_prefix=EXPORTS_FOLDER,
            s3_region=self.lake_region,
            refresh_closed_reports=True,
            report_versioning="CREATE_NEW_REPORT",
        )
