"""Properties by which pyiceberg opens the Iceberg catalogs of AWS: the Glue Data Catalog, and an S3 Tables bucket."""

from __future__ import annotations

from billing_lake.aws.clients import AwsClients

_FILES = {"py-io-impl": "billing_lake.tables.aws_file_io.Boto3FileIO"}


def glue_catalog_properties(clients: AwsClients, warehouse: str) -> dict[str, str]:
    """Return the properties of the Glue Data Catalog's Iceberg tables.

    Args:
        clients: Region and endpoints.
        warehouse: `s3://bucket/folder` below which tables lie.
    """
    properties = {
        "type": "glue",
        "warehouse": warehouse.rstrip("/"),
        "glue.region": clients.region,
        # Glue would keep each version of a table's entry, up to a limit; Iceberg's own history is in the metadata.
        "glue.skip-archive": "true",
        **clients.pyiceberg_s3_properties(),
        **_FILES,
    }
    endpoint = clients.endpoint("glue")
    if endpoint is not None:
        properties["glue.endpoint"] = endpoint
    return properties


def s3_tables_properties(clients: AwsClients, bucket_arn: str, uri: str) -> dict[str, str]:
    """Return the properties of an S3 Tables bucket, through its Iceberg REST endpoint.

    Args:
        clients: Region and endpoints.
        bucket_arn: ARN of the table bucket.
        uri: The endpoint, `https://s3tables.<region>.amazonaws.com/iceberg` on AWS.
    """
    return {
        "type": "rest",
        "uri": uri.rstrip("/"),
        "warehouse": bucket_arn,
        "rest.sigv4-enabled": "true",
        "rest.signing-name": "s3tables",
        "rest.signing-region": clients.region,
        **clients.pyiceberg_s3_properties(),
        **_FILES,
    }
