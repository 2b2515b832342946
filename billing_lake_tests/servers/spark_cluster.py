"""A Spark cluster of two processes on this machine: a master and a worker, from the package that PySpark is."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from billing_lake.resources.java import use_java
from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.spark import LIGHT


@contextmanager
def spark_cluster(folder: Path) -> Iterator[str]:
    """Run a cluster; give the address of its master.

    Args:
        folder: For its logs, and for what its worker does.
    """
    with _daemon(folder, "master", "--port", "0") as said:
        address = _found(said, r"Starting Spark master at (spark://\S+)")
        worker = ["--cores", "2", "--memory", "1g", "--work-dir", str(folder / "work"), address]
        with _daemon(folder, "worker", *worker) as answered:
            _found(answered, r"(Successfully registered with master)")
            yield address


@contextmanager
def _daemon(folder: Path, kind: str, *arguments: str) -> Iterator[Path]:
    import pyspark

    home = Path(pyspark.__file__).parent
    environment = {**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    environment["SPARK_DAEMON_JAVA_OPTS"] = LIGHT
    use_java(environment)
    log = folder / f"{kind}.log"
    program = f"org.apache.spark.deploy.{kind}.{kind.capitalize()}"
    where = ["--host", "127.0.0.1", "--webui-port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(home / "bin" / "spark-class"), program, *where, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _found(log: Path, pattern: str) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := re.search(pattern, log.read_text(errors="replace"))) is None:
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-4_000:]
        time.sleep(0.1)
    return found[1]
