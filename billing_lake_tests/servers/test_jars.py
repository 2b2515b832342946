"""The jars of the tests are what they are pinned to be."""

from pathlib import Path

import pytest

from billing_lake.resources.spark_iceberg import START_SETTINGS
from billing_lake_tests.servers.jars import ICEBERG_IN_SQLITE, require_digest


def test_a_jar_with_other_bytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "some.jar"
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"org\.xerial:sqlite-jdbc.*SHA-256"):
        require_digest(ICEBERG_IN_SQLITE[1], file)


def test_the_jars_are_those_that_the_printed_settings_name() -> None:
    named = START_SETTINGS["spark.jars.packages"].split(",")
    assert [jar.coordinates for jar in ICEBERG_IN_SQLITE] == named


def test_the_jars_of_iceberg_fit_the_spark_that_is_installed() -> None:
    import pyspark

    runtime = ICEBERG_IN_SQLITE[0]
    scala = next(Path(pyspark.__file__).parent.glob("jars/scala-library-*.jar"))
    assert runtime.name.endswith(f"-{pyspark.__version__.rpartition('.')[0]}_2.12")
    assert scala.name.startswith("scala-library-2.12.")
