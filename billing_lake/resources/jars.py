"""Jars from Maven Central that somebody who works in Spark adds to it; loading a lake needs none of them.

Each is pinned to a version and to its bytes, fetched once and kept in a cache; a session that is given files starts without
asking the network anything. Where Maven Central lies, Spark's own Ivy knows, so that one fetches them. A mirror is asked by
Python, which honours the proxies and certificates of the machine, where a JVM that came as a package brings its own.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from billing_lake.domain.errors import ConfigurationError, shown
from billing_lake.resources.java import use_java

FOLDER = "BILLING_LAKE_JARS"
"""Environment variable with a folder that has the jars already; nothing is fetched then."""

REPOSITORY = "BILLING_LAKE_MAVEN_REPOSITORY"
"""Environment variable with a mirror of Maven Central."""

CACHE = "BILLING_LAKE_JARS_CACHE"
"""Environment variable with the folder that fetched jars are kept in."""

_SETTINGS = """<ivysettings><settings defaultResolver="central"/><caches defaultCacheDir="{cache}"/>
<resolvers><ibiblio name="central" m2compatible="true" usepoms="false"/></resolvers></ivysettings>
"""
_MODULE = """<ivy-module version="2.0"><info organisation="billing-lake" module="jars"/>
<dependencies>{asked}</dependencies></ivy-module>
"""
_BLOCK = 1 << 20
_PATIENCE = 60
_SAID = 500


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

    @property
    def path(self) -> str:
        """Path in a repository."""
        return f"{self.group.replace('.', '/')}/{self.name}/{self.version}/{self.file}"


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
"""What Spark needs for the Iceberg tables of a lake on this machine; neither depends on anything that Spark lacks."""


def jar_files(jars: Iterable[Jar], environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the files of ``jars``, fetching those that are not here yet.

    Raises:
        ConfigurationError: One is neither here nor to be had.
    """
    if given := environment.get(FOLDER):
        return tuple(_given(Path(given).expanduser() / jar.file) for jar in jars)
    cache = _cache(environment)
    wanted = tuple(jars)
    lacking = [jar for jar in wanted if not (cache / jar.file).is_file()]
    if lacking:
        cache.mkdir(parents=True, exist_ok=True)
        if repository := environment.get(REPOSITORY):
            for jar in lacking:
                _download_from(repository.rstrip("/"), jar, cache)
        else:
            _resolve(lacking, cache)
    return tuple(cache / jar.file for jar in wanted)


def _given(file: Path) -> Path:
    if not file.is_file():
        what = f"The folder that {FOLDER} names lacks a jar"
        raise ConfigurationError(what, file=str(file), remedy=f"Put it there, or unset {FOLDER}")
    return file


def _cache(environment: Mapping[str, str]) -> Path:
    if chosen := environment.get(CACHE):
        return Path(chosen).expanduser()
    caches = environment.get("XDG_CACHE_HOME")
    return (
        Path(caches) / "billing-lake" / "jars"
        if caches
        else Path.home() / ".cache" / "billing-lake" / "jars"
    )


def _download_from(repository: str, jar: Jar, cache: Path) -> None:
    # Two processes may fetch at once: each its own file, and the last one to be done replaces equal bytes.
    with tempfile.NamedTemporaryFile(dir=cache, prefix=f".{jar.file}.", delete=False) as part:
        try:
            digest = _download(f"{repository}/{jar.path}", part)
            _keep(jar, Path(part.name), digest, cache, _host(repository))
        except OSError as error:
            reason = getattr(error, "reason", None) or error
            raise _refused(jar, _host(repository), shown(reason)) from error
        finally:
            Path(part.name).unlink(missing_ok=True)


def _resolve(jars: Sequence[Jar], cache: Path) -> None:
    """Fetch ``jars`` from Maven Central with the Ivy that comes with PySpark."""
    with tempfile.TemporaryDirectory(dir=cache, prefix=".") as folder:
        work = Path(folder)
        (work / "settings.xml").write_text(_SETTINGS.format(cache=work / "ivy"), encoding="utf-8")
        asked = "".join(
            f'<dependency org="{jar.group}" name="{jar.name}" rev="{jar.version}" transitive="false"/>'
            for jar in jars
        )
        (work / "ivy.xml").write_text(_MODULE.format(asked=asked), encoding="utf-8")
        command = (
            str(use_java().home / "bin" / "java"),
            *("-cp", str(_ivy()), "org.apache.ivy.Main", "-warn", "-types", "jar"),
            *("-settings", str(work / "settings.xml"), "-ivy", str(work / "ivy.xml")),
            *("-retrieve", f"{work}/[artifact]-[revision].[ext]"),
        )
        done = subprocess.run(  # noqa: S603 - the words are ours
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE * 10
        )
        for jar in jars:
            file = work / jar.file
            if not file.is_file():
                said = (done.stdout + done.stderr).strip().splitlines()
                reason = said[-1] if said else f"Ivy ended with {done.returncode}"
                raise _refused(jar, "Maven Central", shown(reason.strip(), _SAID))
            _keep(jar, file, hashlib.sha256(file.read_bytes()).hexdigest(), cache, "Maven Central")


def _ivy() -> Path:
    import pyspark

    return next(Path(pyspark.__file__).parent.joinpath("jars").glob("ivy-*.jar"))


def _keep(jar: Jar, file: Path, digest: str, cache: Path, source: str) -> None:
    if digest != jar.sha256:
        raise _refused(jar, source, f"its SHA-256 is {digest}, not {jar.sha256}")
    file.replace(cache / jar.file)


def _download(url: str, target: tempfile._TemporaryFileWrapper[bytes]) -> str:
    if urlsplit(url).scheme not in {"http", "https", "file"}:
        what = f"{REPOSITORY} is no address"
        raise ConfigurationError(
            what, remedy="Set it to the https:// address of a Maven repository"
        )
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:  # noqa: S310 - the scheme was checked
        while block := answer.read(_BLOCK):
            digest.update(block)
            target.write(block)
    target.flush()
    return digest.hexdigest()


def _host(repository: str) -> str:
    """Return of an address only the host: the rest may hold somebody's password."""
    return shown(urlsplit(repository).hostname or "the repository")


def _refused(jar: Jar, source: str, reason: str) -> ConfigurationError:
    what = f"{jar.coordinates} cannot be taken from {source}: {reason}"
    remedy = f"Set {REPOSITORY} to a mirror of Maven Central, or {FOLDER} to a folder that has {jar.file}"
    return ConfigurationError(what, remedy=remedy)
