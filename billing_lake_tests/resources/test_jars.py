"""Jars are fetched once, are what they are said to be, and come from where somebody wants them to come from."""

import hashlib
from pathlib import Path

import pytest

from billing_lake.domain.errors import ConfigurationError
from billing_lake.resources.jars import CACHE, FOLDER, ICEBERG_IN_SQLITE, REPOSITORY, Jar, jar_files

BYTES = b"no real jar"
JAR = Jar(
    group="org.example",
    name="thing_2.12",
    version="1.2",
    sha256=hashlib.sha256(BYTES).hexdigest(),
)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    file = tmp_path / "mirror" / "org" / "example" / "thing_2.12" / "1.2" / "thing_2.12-1.2.jar"
    file.parent.mkdir(parents=True)
    file.write_bytes(BYTES)
    return tmp_path / "mirror"


@pytest.fixture
def environment(tmp_path: Path, mirror: Path) -> dict[str, str]:
    return {CACHE: str(tmp_path / "cache"), REPOSITORY: f"{mirror.as_uri()}/"}


def test_a_jar_is_fetched_once_and_then_taken_from_the_cache(
    tmp_path: Path, mirror: Path, environment: dict[str, str]
) -> None:
    (file,) = jar_files([JAR], environment)
    assert file == tmp_path / "cache" / "thing_2.12-1.2.jar"
    assert file.read_bytes() == BYTES
    (mirror / JAR.path).unlink()
    assert jar_files([JAR], environment) == (file,)
    assert list(file.parent.iterdir()) == [file]


def test_a_jar_with_other_bytes_is_refused_and_not_kept(
    tmp_path: Path, mirror: Path, environment: dict[str, str]
) -> None:
    (mirror / JAR.path).write_bytes(b"something else")
    with pytest.raises(ConfigurationError, match=r"org\.example:thing_2\.12:1\.2.*SHA-256"):
        jar_files([JAR], environment)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_mirror_without_the_jar_is_said_with_the_settings_that_help_and_without_its_password(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    environment[REPOSITORY] = "http://me:secret@127.0.0.1:9/maven"
    with pytest.raises(ConfigurationError, match=f"{REPOSITORY}.*{FOLDER}") as caught:
        jar_files([JAR], environment)
    assert "secret" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_mirror_that_is_no_address_is_refused(environment: dict[str, str]) -> None:
    environment[REPOSITORY] = "maven.example.com"
    with pytest.raises(ConfigurationError, match=f"{REPOSITORY} is no address"):
        jar_files([JAR], environment)


def test_a_folder_of_jars_is_used_as_it_is_and_fetches_nothing(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    environment[FOLDER] = str(given)
    with pytest.raises(ConfigurationError, match=rf"{FOLDER}.*thing_2\.12-1\.2\.jar"):
        jar_files([JAR], environment)
    (given / JAR.file).write_bytes(b"their own build")
    assert jar_files([JAR], environment) == (given / JAR.file,)
    assert not (tmp_path / "cache").exists()


def test_the_cache_is_where_caches_of_the_machine_are(tmp_path: Path, mirror: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path), REPOSITORY: mirror.as_uri()}
    assert jar_files([JAR], environment) == (tmp_path / "billing-lake" / "jars" / JAR.file,)


def test_the_jars_of_iceberg_fit_the_spark_that_is_installed() -> None:
    import pyspark

    runtime = ICEBERG_IN_SQLITE[0]
    scala = next(Path(pyspark.__file__).parent.glob("jars/scala-library-*.jar"))
    assert runtime.name.endswith(f"-{pyspark.__version__.rpartition('.')[0]}_2.12")
    assert scala.name.startswith("scala-library-2.12.")
