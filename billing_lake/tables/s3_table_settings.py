"""Settings of a table in an S3 Tables bucket: how AWS maintains it by itself.

Unless told otherwise, AWS forgets snapshots after 120 hours. Then nobody could say what a restatement changed that comes later, or
read a month as it was last week. Settings can be given again at any time; they are the table's, and no commit changes them.
"""

from __future__ import annotations

from billing_lake.aws.clients import AwsClients
from billing_lake.aws.errors import aws_errors
from billing_lake.tables.base import KeptHistory, check_table

TARGET_FILE_MB = 512
"""Size up to which AWS joins files of a table: its own default, named here so that somebody else's setting is put right."""


def keep_history(clients: AwsClients, bucket_arn: str, table: str, kept: KeptHistory) -> None:
    """Have AWS keep the history of a table, and compact it.

    Args:
        clients: Region and endpoints.
        bucket_arn: ARN of the table bucket.
        table: Full name of the table, which exists.
        kept: The history: days, and how many of its last snapshots at least.

    Raises:
        ConfigurationError: The right to do so is missing.
    """
    namespace, _, name = check_table(table).partition(".")
    snapshots = {
        "maxSnapshotAgeHours": max(1, round(kept.days * 24)),
        "minSnapshotsToKeep": kept.loads,
    }
    for type_, settings in (
        ("icebergSnapshotManagement", snapshots),
        ("icebergCompaction", {"targetFileSizeMB": TARGET_FILE_MB}),
    ):
        with aws_errors(bucket_arn):
            clients.client("s3tables").put_table_maintenance_configuration(
                tableBucketARN=bucket_arn,
                namespace=namespace,
                name=name,
                type=type_,
                value={"status": "enabled", "settings": {type_: settings}},
            )
