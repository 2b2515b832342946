"""The Iceberg tables of one lake in the Glue Data Catalog, which an account's teams and lakes share.

A table belongs to this lake only if its metadata lies below the lake's warehouse: lists of tables have no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from billing_lake.tables.aws_catalogs import glue_catalog_properties
from billing_lake.tables.glue_api import GlueApi
from billing_lake.tables.iceberg import IcebergTables

if TYPE_CHECKING:
    from billing_lake.files.s3 import S3Files


class GlueIcebergTables(IcebergTables):
    """The Iceberg tables of the Glue Data Catalog whose files lie below one root.

    Args:
        files: The files of the storage, and the clients of its account.
        warehouse: `s3://bucket/folder` below which tables lie.
    """

    def __init__(self, files: S3Files, warehouse: str) -> None:
        super().__init__("iceberg", glue_catalog_properties(files.clients, warehouse), files=files)
        self._api = GlueApi(files.clients)

    def _tables(self) -> Iterator[str]:
        for one in self._api.readable_tables():
            if (
                one.get("Parameters", {})
                .get("metadata_location", "")
                .startswith(f"{self._warehouse}/")
            ):
                yield f"{one['DatabaseName']}.{one['Name']}"
