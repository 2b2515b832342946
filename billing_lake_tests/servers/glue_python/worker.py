"""A Python with a running Spark that runs one job script after the other.

A JVM takes seconds to start; a test with many small jobs would spend its time there. Each script gets what
a new Python would give it: its own argv, sys.path, modules and Spark session (of the one SparkContext).

Requests and answers are lines of JSON on what was standard input and output at start.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

import boto3
from pyspark.sql import SparkSession

_KEPT = ("boto3", "botocore", "py4j", "pyspark", "s3transfer", "urllib3")


def main() -> None:
    """Serve until the input ends or a script stopped the SparkContext."""
    sys.path.pop(0)  # this file's folder, which a job's Python would not have
    requests, answers = _channel()
    spark = SparkSession.builder.getOrCreate()
    spark.range(1).collect()
    boto3.client("s3")
    _answer(answers, {"ready": True})
    for line in requests:
        code = _run(spark, json.loads(line))
        alive = spark.sparkContext._jsc is not None  # None after stop()
        _answer(answers, {"code": code, "alive": alive})
        if not alive:
            break


def _channel() -> tuple[TextIO, TextIO]:
    """Take the pipes away from the scripts, which print."""
    requests, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return requests, answers


def _answer(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def _run(spark: SparkSession, request: dict[str, Any]) -> int:
    """Run one script with its output in a file, and give its exit status."""
    modules, path, argv, folder = set(sys.modules), list(sys.path), sys.argv, Path.cwd()
    saved = [os.dup(1), os.dup(2)]
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(request["folder"])
        sys.path[:0] = request["path"]
        sys.argv = [request["script"], *request["arguments"]]
        _use(spark.newSession())
        return _main(request["script"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(saved, start=1):
            os.dup2(descriptor, number)
        for descriptor in (*saved, output):
            os.close(descriptor)
        sys.argv, sys.path[:] = argv, path
        os.chdir(folder)
        for name in set(sys.modules) - modules:
            if name.partition(".")[0] not in _KEPT:
                del sys.modules[name]
        sys.path_importer_cache.clear()  # zips of one job must not answer for those of the next


def _use(session: SparkSession) -> None:
    """Make `SparkSession.builder.getOrCreate()` give this session."""
    SparkSession._instantiatedSession = session
    jvm = session._jvm
    assert jvm is not None
    jvm.SparkSession.setDefaultSession(session._jsparkSession)
    jvm.SparkSession.setActiveSession(session._jsparkSession)


def _main(script: str) -> int:
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except BaseException:  # noqa: BLE001 # whatever it is, it ends the script and not the worker
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
