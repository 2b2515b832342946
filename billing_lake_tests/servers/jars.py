"""Jars from Maven Central that the tests add to Spark: pinned to a version and to their bytes, fetched once and kept.

Ivy, which comes with PySpark, fetches them, as it does for `spark.jars.packages`; but a session of a test that is given files
starts without asking the network anything. They are kept in `~/.cache/billing-lake/jars` (or below `XDG_CACHE_HOME`).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from billing_lake.resources.java import use_java

_SETTINGS = """<ivysettings><settings defaultResolver="central"/><caches defaultCacheDir="{cache}"/>
<resolvers><ibiblio name="central" m2compatible="true" usepoms="false"/></resolvers></ivysettings>
"""
_MODULE = """<ivy-module version="2.0"><info organisation="billing-lake" module="jars"/>
<dependencies>{asked}</dependencies></ivy-module>
"""
_TIMEOUT_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Jar:
    """A jar in a Maven repository.

    Attributes:
        group: Who makes it: `org.xerial`.
        name: Name of the artifact.
        version: The version that the tests run with.
        sha256: Digest of its bytes.
    """

    group: str
    name: str
    version: str
    sha256: str

    @property
    def coordinates(self) -> str:
        """What `spark.jars.packages` and `--packages` call it."""
        return f"{self.group}:{self.name}:{self.version}"

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.name}-{self.version}.jar"


ICEBERG_IN_SQLITE = (
    Jar(
        group="org.apache.iceberg",
        name="iceberg-spark-runtime-3.5_2.12",
        version="1.10.1",
        sha256="39ea09e6c03550a300b9d9ab498949836d2d434e441da4c12a943a086e396940",
    ),
    Jar(
        group="org.xerial",
        name="sqlite-jdbc",
        version="3.46.1.3",
        sha256="4a4832720a65eaf7f4d6fd7ede52087b994dc5633c076f9e994dc0c8b4b0b4fa",
    ),
)
"""The jars that `spark_iceberg.START_SETTINGS` names; neither depends on anything that Spark lacks."""


def jar_files(jars: Sequence[Jar]) -> tuple[Path, ...]:
    """Return the files of ``jars``, fetching those that are not here yet."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = caches / "billing-lake" / "jars"
    cache.mkdir(parents=True, exist_ok=True)
    if lacking := [jar for jar in jars if not (cache / jar.file).is_file()]:
        # Two processes may fetch at once: each its own files, and the last one to be done replaces equal bytes.
        with tempfile.TemporaryDirectory(dir=cache, prefix=".") as work:
            fetch(lacking, Path(work))
            for jar in lacking:
                require_digest(jar, Path(work, jar.file))
                Path(work, jar.file).replace(cache / jar.file)
    return tuple(cache / jar.file for jar in jars)


def fetch(jars: Sequence[Jar], folder: Path) -> None:
    """Fetch ``jars`` from Maven Central into ``folder``."""
    import pyspark

    ivy = next(Path(pyspark.__file__).parent.glob("jars/ivy-*.jar"))
    (folder / "settings.xml").write_text(_SETTINGS.format(cache=folder / "ivy"), encoding="utf-8")
    asked = "".join(
        f'<dependency org="{jar.group}" name="{jar.name}" rev="{jar.version}" transitive="false"/>'
        for jar in jars
    )
    (folder / "ivy.xml").write_text(_MODULE.format(asked=asked), encoding="utf-8")
    command = (
        str(use_java().home / "bin" / "java"),
        *("-cp", str(ivy), "org.apache.ivy.Main", "-warn", "-types", "jar"),
        *("-settings", str(folder / "settings.xml"), "-ivy", str(folder / "ivy.xml")),
        *("-retrieve", f"{folder}/[artifact]-[revision].[ext]"),
    )
    subprocess.run(command, check=True, timeout=_TIMEOUT_SECONDS)  # the words are ours


def require_digest(jar: Jar, file: Path) -> None:
    """Refuse a file that has other bytes than the jar.

    Raises:
        ValueError: It has.
    """
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != jar.sha256:
        what = f"{jar.coordinates}: its SHA-256 is {digest}, not {jar.sha256}"
        raise ValueError(what)
