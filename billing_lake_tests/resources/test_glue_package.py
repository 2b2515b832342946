"""What a Glue job is given is complete, is nothing but that, and is the same wherever it is built."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import billing_lake
from billing_lake.resources.glue_package import GluePackage, build_glue_package

ROOT = Path(billing_lake.__file__).parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> GluePackage:
    return build_glue_package(tmp_path_factory.mktemp("glue") / "dist")


def test_the_zip_holds_the_spark_program_what_it_stands_on_and_nothing_else(
    built: GluePackage,
) -> None:
    expected = {
        "billing_lake/__init__.py",
        "dagster_pipes/__init__.py",
        "dagster_pipes/version.py",
        *(
            f"billing_lake/{file.relative_to(ROOT).as_posix()}"
            for package in ("domain", "spark_job")
            for file in (ROOT / package).rglob("*.py")
        ),
    }
    with zipfile.ZipFile(built.library) as library:
        names = library.namelist()
        assert names == sorted(expected)
        for name in names:
            if name.startswith("billing_lake/"):
                assert library.read(name) == (ROOT.parent / name).read_bytes()


def test_the_script_is_the_programs_own(built: GluePackage) -> None:
    assert built.script.read_bytes() == (ROOT / "spark_job" / "glue_main.py").read_bytes()


def test_another_build_makes_the_same_bytes_whatever_the_time_stamps(
    built: GluePackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    touched = ROOT / "domain" / "__init__.py"
    before = touched.stat()
    os.utime(touched, (0, 1_000_000_000))
    try:
        again = build_glue_package(tmp_path)
    finally:
        os.utime(touched, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert again.library.read_bytes() == built.library.read_bytes()


WITHOUT_THE_REST = """
import importlib, importlib.abc, json, sys, zipfile

class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

library = sys.argv[1]
allowed = {*sys.stdlib_module_names, "billing_lake", "dagster_pipes", "pyspark", "py4j"}
sys.path.insert(0, library)
sys.meta_path.insert(0, Nothing())
with zipfile.ZipFile(library) as files:
    names = [n.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".") for n in files.namelist()]
for name in names:
    importlib.import_module(name)
print(json.dumps({name: sys.modules[name].__file__ for name in names}))
"""


def test_the_zip_imports_where_only_pyspark_is_installed(
    built: GluePackage, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_THE_REST, str(built.library)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    imported = json.loads(done.stdout)
    assert "billing_lake.spark_job.requests" in imported
    assert [
        name for name, file in imported.items() if not file.startswith(str(built.library))
    ] == []


def test_the_command_builds_into_the_folder_that_it_is_given(
    built: GluePackage, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "billing_lake.resources.glue_package", str(tmp_path / "made")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert (tmp_path / "made" / built.library.name).read_bytes() == built.library.read_bytes()
    assert f"{tmp_path / 'made' / built.script.name}  " in done.stdout
