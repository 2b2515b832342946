"""The files that a Glue job is given: its script, and a zip with all the code that the script imports.

Glue installs nothing of ours, so the Spark program travels with the parts of the lake that it stands on, and with Dagster
Pipes, which has no dependencies. The zip is the same to the last byte wherever it is built: whoever uploads it can
tell from its hash whether the code changed. `make glue-package` builds it.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from billing_lake.domain.errors import ConfigurationError

PACKAGES = ("billing_lake.domain", "billing_lake.spark_job", "dagster_pipes")
"""Packages in the zip, whole."""

LIBRARY = "billing_lake.zip"
"""Name of the zip: what `--extra-py-files` of the job points to."""

SCRIPT = "glue_main.py"
"""Name of the script: what `ScriptLocation` of the job points to."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644


@dataclass(frozen=True, kw_only=True)
class GluePackage:
    """Files that were built."""

    script: Path
    library: Path


def build_glue_package(folder: Path) -> GluePackage:
    """Write the script and the zip into ``folder``.

    Raises:
        ConfigurationError: A package to be sent along is not installed as files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    built = GluePackage(script=folder / SCRIPT, library=folder / LIBRARY)
    built.script.write_bytes((_folder_of("billing_lake.spark_job") / SCRIPT).read_bytes())
    # Not compressed: another zlib would make other bytes, and all of it is smaller than a page of a report.
    with zipfile.ZipFile(built.library, "w", zipfile.ZIP_STORED) as library:
        for name, source in sorted(_files()):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system = 3
            entry.external_attr = _MODE << 16
            library.writestr(entry, source.read_bytes())
    return built


def _files() -> Iterator[tuple[str, Path]]:
    root = _folder_of("billing_lake")
    yield "billing_lake/__init__.py", root / "__init__.py"
    for package in PACKAGES:
        folder = _folder_of(package)
        for file in folder.rglob("*.py"):
            yield "/".join((*package.split("."), *file.relative_to(folder).parts)), file


def _folder_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        what = f"The package {package} is not installed as files"
        raise ConfigurationError(
            what, remedy="Run `make glue-package` in a checkout of the project"
        )
    return Path(spec.origin).parent


def _main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "dist")
    built = build_glue_package(folder)
    for file in (built.script, built.library):
        sys.stdout.write(f"{file}  {file.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    _main()
