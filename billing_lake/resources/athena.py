"""Athena for people's own assets, in the lake's region and workgroup."""

from __future__ import annotations

from typing import Any

import dagster as dg
from pydantic import Field

from billing_lake.aws.clients import AwsClients
from billing_lake.sql.athena_queries import AthenaQueries


class AthenaResource(dg.ConfigurableResource[Any]):
    """Athena, in the lake's region and workgroup."""

    region: str = Field(description="Region of the lake.")
    workgroup: str = Field(default="primary", description="Workgroup of the queries.")
    output: str | None = Field(
        default=None,
        description="Folder of results, s3://<bucket>/<folder>, unless the workgroup decides it.",
    )

    def queries(self) -> AthenaQueries:
        """Return what runs queries and gives typed rows."""
        return AthenaQueries(AwsClients(self.region), workgroup=self.workgroup, output=self.output)
