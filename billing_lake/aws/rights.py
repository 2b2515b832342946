"""Lists the rights that the role which runs Dagster needs, for each feature: actions, resource, reason.

The table in the documentation is made from this list, and policies can be. Where Lake Formation governs the catalog, its grants come
on top.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Right:
    """Something that a role may do, and why.

    Attributes:
        feature: The part of the lake that needs it, such as `Glue job`.
        actions: Actions of IAM, such as `s3:GetObject`.
        resource: What they are done to, as the last part of an ARN or, where it has no fixed form, in words; names of settings stand
            in angle brackets.
        why: The reason.
    """

    feature: str
    actions: tuple[str, ...]
    resource: str
    why: str


def _right(feature: str, service: str, actions: str, resource: str, why: str) -> Right:
    return Right(feature, tuple(f"{service}:{one}" for one in actions.split()), resource, why)


_LANDING, _WAREHOUSE, _PIPES = "<landing bucket>", "<warehouse>", "<Pipes bucket>"
_CATALOG = "catalog, database/*, table/*"
_DEFAULT = "catalog, database/default"
_FEDERATED = "catalog, and what is in catalog/s3tablescatalog/<table bucket>"
_BUCKETS = "<table bucket>, and table/* of it"

RIGHTS = (
    _right("landing area", "s3", "ListBucket", _LANDING, "find deliveries"),
    _right("landing area", "s3", "GetObject", f"{_LANDING}/*", "read manifests and report files"),
    _right("warehouse", "s3", "ListBucket", _WAREHOUSE, "list tables' files and stored values"),
    _right(
        "warehouse",
        "s3",
        "GetObject PutObject DeleteObject AbortMultipartUpload",
        f"{_WAREHOUSE}/*",
        "read, write and replace the files of tables, staged files and values",
    ),
    _right(
        "Glue Data Catalog",
        "glue",
        "GetDatabase GetDatabases CreateDatabase GetTable GetTables CreateTable UpdateTable DeleteTable",
        _CATALOG,
        "keep the Iceberg, Hive and crawled tables",
    ),
    _right(
        "Glue Data Catalog",
        "glue",
        "GetPartition GetPartitions BatchCreatePartition BatchUpdatePartition BatchDeletePartition",
        _CATALOG,
        "switch the billing periods of Hive tables",
    ),
    _right("S3 Tables", "s3tables", "GetTableBucket", "<table bucket>", "see that it is there"),
    _right(
        "S3 Tables",
        "s3tables",
        "CreateNamespace GetNamespace ListNamespaces CreateTable ListTables DeleteTable",
        _BUCKETS,
        "keep tables through the Iceberg REST endpoint",
    ),
    _right(
        "S3 Tables",
        "s3tables",
        "GetTableData PutTableData GetTableMetadataLocation UpdateTableMetadataLocation",
        _BUCKETS,
        "read and write their files, and commit",
    ),
    _right(
        "S3 Tables",
        "s3tables",
        "PutTableMaintenanceConfiguration",
        _BUCKETS,
        "say how long AWS keeps the history of a table (`s3_table_create`)",
    ),
    _right("Glue job", "glue", "GetJob", "job/<Glue job>", "see that it is there"),
    _right(
        "Glue job",
        "glue",
        "StartJobRun GetJobRun GetJobRuns BatchStopJobRun",
        "job/<Glue job>",
        "run it, watch it, and stop what a dead process left",
    ),
    _right("Glue job", "s3", "ListBucket", _PIPES, "see that it is there, and empty its folder"),
    _right(
        "Glue job",
        "s3",
        "GetObject PutObject DeleteObject",
        f"{_PIPES}/billing-lake-pipes/*",
        "send the request and read the answer",
    ),
    _right(
        "Glue crawler",
        "glue",
        "CreateCrawler GetCrawlers",
        "*",
        "have a delivery crawled, by a crawler of its own; IAM knows no narrower resource for these",
    ),
    _right(
        "Glue crawler",
        "glue",
        "StartCrawler GetCrawler StopCrawler DeleteCrawler",
        "crawler/billing-lake-*",
        "start it, watch it, and take it away",
    ),
    _right(
        "Glue crawler",
        "glue",
        "CreateClassifier DeleteClassifier",
        "*",
        "say how its CSV files are written",
    ),
    _right("Glue crawler", "iam", "PassRole", "<crawler role>", "let the crawler read the files"),
    _right(
        "queries",
        "athena",
        "StartQueryExecution GetQueryExecution GetQueryResults StopQueryExecution GetWorkGroup",
        "workgroup/<workgroup>",
        "`billing-lake query`, and assets of your own",
    ),
    _right(
        "queries",
        "s3",
        "GetBucketLocation GetObject PutObject ListBucket AbortMultipartUpload ListBucketMultipartUploads "
        "ListMultipartUploadParts",
        "<query results>",
        "Athena writes its results with the rights of who asks",
    ),
    _right(
        "queries",
        "glue",
        "GetDatabase",
        _DEFAULT,
        "Athena looks for its default database, whatever a query names",
    ),
    _right(
        "queries",
        "glue",
        "GetCatalog GetDatabase GetTable",
        _FEDERATED,
        "Athena finds the tables of the S3 Tables bucket there",
    ),
    _right(
        "queries", "s3tables", "GetTable", _BUCKETS, "Athena reads them with the rights of who asks"
    ),
    _right("alerts", "sns", "Publish", "<topic>", "send alerts to a topic that a policy names"),
)
"""All rights, feature by feature."""


def rights_table() -> str:
    """Return the rights as the table of the documentation, in Markdown."""
    rows = ["| for | actions | on | to |", "|---|---|---|---|"]
    for right in RIGHTS:
        first, *more = right.actions
        names = ", ".join(f"`{one}`" for one in (first, *(one.split(":")[1] for one in more)))
        rows.append(f"| {right.feature} | {names} | `{right.resource}` | {right.why} |")
    return "\n".join(rows)
