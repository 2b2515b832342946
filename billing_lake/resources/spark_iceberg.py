"""Make the settings with which any Spark reads and writes the Iceberg tables of a lake on this machine.

Spark knows the tables through Iceberg's JDBC catalog on the same SQLite files that the lake commits to, so both sides see
each other's commits at once. `python -m billing_lake.resources.spark_iceberg FOLDER` prints the settings for the lake in a
folder, in the form of a `spark-defaults.conf`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from billing_lake.tables.local_place import ICEBERG_CATALOGS, require_made_here

START_SETTINGS = {
    "spark.jars.packages": (
        "org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.10.1,org.xerial:sqlite-jdbc:3.46.1.3"
    ),
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
}
"""The settings for the jars and Iceberg's SQL; Spark takes them at its start only."""


def catalog_settings(home: Path) -> dict[str, str]:
    """Return the settings of the catalogs of the lake in ``home``; Spark takes them at any time.

    The names of the catalogs are written in the lake's databases, so Spark must use the same.
    """
    settings: dict[str, str] = {}
    for name in ICEBERG_CATALOGS:
        catalog = f"spark.sql.catalog.{name}"
        settings |= {
            catalog: "org.apache.iceberg.spark.SparkCatalog",
            f"{catalog}.type": "jdbc",
            f"{catalog}.uri": f"jdbc:sqlite:file:{home}/catalog/{name}.db",
            f"{catalog}.jdbc.schema-version": "V1",
            # When it makes its tables, Iceberg leaves a result open and the database locked for everybody else.
            f"{catalog}.jdbc.init-catalog-tables": "false",
            f"{catalog}.warehouse": f"file://{home}/warehouse/{name}",
            # Otherwise Spark shows a table as it was when it was first read.
            f"{catalog}.cache-enabled": "false",
        }
    return settings


def _main() -> None:
    home = Path(sys.argv[1]).absolute()
    require_made_here(home)
    settings = START_SETTINGS | catalog_settings(home)
    sys.stdout.writelines(f"{name} {value}\n" for name, value in settings.items())


if __name__ == "__main__":
    _main()
