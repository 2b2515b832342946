"""What a plain Spark needs to read and write `s3://`, which Glue's Spark does by itself.

`hadoop-aws` asks for an SDK bundle of 280 MB. Of that it uses the clients for S3 and DynamoDB; these and what
Spark does not bring already are eight jars of 6 MB together, fetched once like the project's other jars.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from billing_lake_tests.servers.jars import Jar, jar_files
from billing_lake_tests.servers.spark import LIGHT

_SDK = "1.12.262"

# Spark 3.5 is built with this Hadoop, this Hadoop with this SDK, and that with the rest. What Spark brings in a later
# version is left out: an older one in front of it would break it.
_JARS = (
    Jar(
        group="org.apache.hadoop",
        name="hadoop-aws",
        version="3.3.4",
        sha256="53f9ae03c681a30a50aa17524bd9790ab596b28481858e54efd989a826ed3a4a",
    ),
    Jar(
        group="com.amazonaws",
        name="aws-java-sdk-core",
        version=_SDK,
        sha256="06fed99f929c389e168278c1b111aaf1afb270d07202fbbce92e73d1e4279678",
    ),
    Jar(
        group="com.amazonaws",
        name="aws-java-sdk-dynamodb",
        version=_SDK,
        sha256="7af4ba06d0d9b3c2ab435089caecd0567810d203aa285f7aa72861f1964d442e",
    ),
    Jar(
        group="com.amazonaws",
        name="aws-java-sdk-s3",
        version=_SDK,
        sha256="a0cb7580178bc0d4d3558295a5bb890008478da8a6b3241989c71238b0ed3be5",
    ),
    Jar(
        group="com.amazonaws",
        name="jmespath-java",
        version=_SDK,
        sha256="9001ea993a45d82a2d3086edcbda8a40b4e012d049a70fbf071fd329c0fbd777",
    ),
    Jar(
        group="com.fasterxml.jackson.dataformat",
        name="jackson-dataformat-cbor",
        version="2.12.6",
        sha256="cfa008d15f052e69221e8c3193056ff95c3c594271321ccac8d72dc1a770619c",
    ),
    Jar(
        group="org.wildfly.openssl",
        name="wildfly-openssl",
        version="1.0.7.Final",
        sha256="9f7058778978ec2ad90c7224401a4b0013d93e0dd3fa0f72b25244ffa3507ca8",
    ),
    Jar(
        group="software.amazon.ion",
        name="ion-java",
        version="1.0.2",
        sha256="0d127b205a1fce0abc2a3757a041748651bc66c15cf4c059bac5833b27d471a5",
    ),
)


def spark_settings(s3_url: str, key: str, secret: str, region: str) -> dict[str, str]:
    """Settings with which a plain Spark on this machine stands for Glue's."""
    return {
        "spark.master": "local[2]",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "1g",
        # On the class path, where `spark.jars` would copy them for each session.
        "spark.driver.extraClassPath": os.pathsep.join(map(str, jar_files(_JARS))),
        "spark.driver.extraJavaOptions": LIGHT,
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": s3_url,
        "spark.hadoop.fs.s3a.endpoint.region": region,
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        "spark.hadoop.fs.s3a.access.key": key,
        "spark.hadoop.fs.s3a.secret.key": secret,
    }


def write_spark_conf(folder: Path, settings: Mapping[str, str]) -> None:
    """Make a folder for SPARK_CONF_DIR."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{name} {value}\n" for name, value in settings.items())
    (folder / "spark-defaults.conf").write_text(lines)
    (folder / "log4j2.properties").write_text(
        "rootLogger.level = error\n"
        "rootLogger.appenderRef.stderr.ref = stderr\n"
        "appender.stderr.type = Console\n"
        "appender.stderr.name = stderr\n"
        "appender.stderr.target = SYSTEM_ERR\n"
        "appender.stderr.layout.type = PatternLayout\n"
        "appender.stderr.layout.pattern = %p %c{1}: %m%n\n"
    )
