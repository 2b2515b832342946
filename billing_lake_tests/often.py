"""`make test-often`: runs tests again and again beside two busy loops, since a test that depends on time fails by chance and elsewhere.

Each file runs `--times`, ten times in a process: what they import and start is then paid once for ten. Files whose tests look at
one thing that was made for all of them run in a process each time. `--whole` runs the whole suite instead. The first failure ends it.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
BUSY_LOOPS = 2

FILES = """
    alerts/test_notifiers.py alerts/test_outbox.py
    assets/test_concurrent_runs.py
    aws/test_clients.py aws/test_retry.py
    checks/test_table_proofs.py
    commands/test_alerts.py commands/test_cli.py commands/test_demo.py commands/test_query_athena.py commands/test_terminal.py
    deployments/test_local_spark.py
    files/test_s3.py
    infra/test_deployed.py infra/test_image.py infra/test_recorder.py infra/test_synthesis.py
    landing/test_local.py landing/test_s3.py
    loads/test_ledger.py loads/test_without_dagster.py
    resources/test_glue_jobs.py resources/test_glue_runs.py resources/test_run_history.py resources/test_spark.py
    sensors/test_alerts.py sensors/test_freshness.py sensors/test_histories.py
    servers/test_crawlers.py servers/test_job_runs.py servers/test_servers.py
    spark_job/test_imports.py
    tables/test_glue_races.py tables/test_iceberg_on_aws.py tables/test_races.py tables/test_relocation.py
    test_dagster_dev.py test_docs.py test_killed_alerts.py test_killed_loads.py test_killed_rebuilds.py test_makefile.py
    test_on_aws.py test_operation_docs.py test_own_project.py test_refused_writes.py test_story_of_months.py
""".split()
"""Files whose tests deal in time, processes or sockets. One that does is added here."""

ROUNDS = 10
"""Times that a file runs in one process."""

MADE_ONCE = ('scope="module"', "passes: Passes")
"""What the text of a file has whose tests share what was made once."""


@contextmanager
def busy_machine() -> Iterator[None]:
    """Let two loops compute beside the block."""
    command = [sys.executable, "-c", "while True: pass"]
    loops = [subprocess.Popen(command) for _ in range(BUSY_LOOPS)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def repeat(file: Path, times: int) -> bool:
    """Run a file some times; False where a run failed."""
    text = file.read_text(encoding="utf-8")
    rounds = 1 if any(sign in text for sign in MADE_ONCE) else min(ROUNDS, times)
    processes = -(-times // rounds)
    what = f"{file.relative_to(HERE)}: {processes} x {rounds} runs"
    return run(what, ["-n", "0", f"--rounds={rounds}", str(file)], processes)


def run(what: str, arguments: Sequence[str], processes: int) -> bool:
    """Run pytest some times and say how long that took; False where a run failed, whose output is shown."""
    seconds: list[float] = []
    for number in range(1, processes + 1):
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        seconds.append(time.monotonic() - began)
        if done.returncode:
            print(f"{done.stdout}\nFailed in process {number}: {' '.join(arguments)}")
            return False
    print(f"{what}, {median(seconds):.1f} s a process, {sum(seconds):.0f} s", flush=True)
    return True


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="make test-often", description=__doc__)
    parser.add_argument("files", nargs="*", help="files of tests; those of the list unless given")
    parser.add_argument("--times", type=int, default=30, help="runs of each file, 30 unless given")
    parser.add_argument("--whole", type=int, default=0, help="runs of the whole suite instead")
    asked = parser.parse_args()
    files = [Path(one).resolve() for one in asked.files] or [HERE / one for one in FILES]
    began = time.monotonic()
    # A native library that crashes leaves a file `core`, which says in which of its threads.
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    with busy_machine():
        if asked.whole:
            well = run("the whole suite", [], asked.whole)
        else:
            well = all(repeat(one, asked.times) for one in files)
    print(f"{'None failed' if well else 'One failed'}, after {time.monotonic() - began:.0f} s")
    sys.exit(not well)


if __name__ == "__main__":
    main()
