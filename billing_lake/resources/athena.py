"""Athena for people's own assets: dagster-aws's resource, in the lake's region and workgroup, without its gaps.

`execute_query` keeps its shape (rows of text), and no longer reads the results' file as a whole, breaks cells with line
breaks, waits on after Ctrl-C, or hides why a query failed. `queries` gives typed rows, page by page.
"""

from __future__ import annotations

from typing import Any

from dagster_aws.athena import AthenaClientResource
from dagster_aws.athena.resources import AthenaClient
from pydantic import Field

from billing_lake.aws.clients import AwsClients
from billing_lake.resources.athena_queries import AthenaQueries


class LakeAthenaClient(AthenaClient):
    """dagster-aws's client, whose queries run as the lake's do."""

    def __init__(self, queries: AthenaQueries, client: Any, **settings: Any) -> None:
        super().__init__(client, **settings)  # type: ignore[no-untyped-call]
        self.queries = queries

    def execute_query(
        self,
        query: str,
        fetch_results: bool = False,  # noqa: FBT001, FBT002 -- the signature of the class above
    ) -> list[tuple[str | None, ...]] | None:
        """Run one query; return its rows as text, NULL as None, where they are asked for.

        Raises:
            QueryError: It failed, was cancelled, or took too long.
            ConfigurationError: The workgroup, the results' folder or our rights are not what they should be.
        """
        execution = self.queries.wait(self.queries.start(query))
        return list(self.queries.text_rows(execution)) if fetch_results else None


class AthenaResource(AthenaClientResource):
    """Athena, in the lake's region and workgroup."""

    region: str = Field(description="Region of the lake.")
    output: str | None = Field(
        default=None,
        description="Folder of results, s3://<bucket>/<folder>, unless the workgroup decides it.",
    )

    def queries(self) -> AthenaQueries:
        """Return what runs queries and gives typed rows."""
        return AthenaQueries(
            self._boto_client(),
            workgroup=self.workgroup,
            output=self.output,
            interval=float(self.polling_interval),
            timeout=float(max(self.polling_interval, 1) * self.max_polls),
        )

    def get_client(self) -> LakeAthenaClient:
        """Return dagster-aws's client."""
        queries = self.queries()
        return LakeAthenaClient(
            queries,
            self._boto_client(),
            workgroup=self.workgroup,
            polling_interval=self.polling_interval,
            max_polls=self.max_polls,
        )

    def _boto_client(self) -> Any:
        if self.aws_access_key_id is None:
            return AwsClients(self.region).client("athena")
        import boto3

        return boto3.client(
            "athena",
            region_name=self.region,
            aws_access_key_id=self.aws_access_key_id,
            aws_secret_access_key=self.aws_secret_access_key,
        )
