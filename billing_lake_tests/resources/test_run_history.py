from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy
from alembic.script import Script, ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from sqlalchemy import Engine, event, text
from sqlalchemy.pool import NullPool

from billing_lake.resources.run_history import (
    KEPT_FILES,
    close_run_history,
    keep_run_history_open,
)

ROOT = Path(__file__).parents[2]

KILLED_AFTER_A_RUN = """
import os, signal
import dagster as dg
from billing_lake.resources.run_history import keep_run_history_open

@dg.op
def work(): pass

@dg.job(executor_def=dg.in_process_executor)
def working(): work()

keep_run_history_open()
instance = dg.DagsterInstance.get()
print(working.execute_in_process(instance=instance).run_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    close_run_history()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    keep_run_history_open()
    yield tmp_path / "home"
    close_run_history()


def write(file: Path, number: int = 1) -> None:
    """Write into a file as Dagster does: by an engine and a connection that are made for it and closed at once."""
    engine: Engine = vars(sqlite_event_log)["create_engine"](
        f"sqlite:///{file}", poolclass=NullPool
    )
    with engine.connect() as connection:
        connection.execute(text("PRAGMA journal_mode=WAL"))
        connection.execute(text("CREATE TABLE IF NOT EXISTS events (number INTEGER)"))
        connection.execute(text("INSERT INTO events VALUES (:number)"), {"number": number})
        connection.commit()
    engine.dispose()


def log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def numbers(file: Path) -> list[int]:
    connection = sqlite3.connect(file)
    try:
        return [number for (number,) in connection.execute("SELECT number FROM events")]
    finally:
        connection.close()


def test_a_file_of_the_instance_keeps_its_log_between_events_until_it_is_closed(home: Path) -> None:
    for number in (1, 2, 3):
        write(home / "runs.db", number)
    assert log_of(home / "runs.db").exists()
    assert numbers(home / "runs.db") == [1, 2, 3]
    close_run_history()
    assert not log_of(home / "runs.db").exists()
    assert numbers(home / "runs.db") == [1, 2, 3]


def test_a_new_file_has_its_log_before_its_tables_are_made(home: Path) -> None:
    engine: Engine = vars(sqlite_event_log)["create_engine"](f"sqlite:///{home / 'new.db'}")
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"


def test_files_elsewhere_are_left_alone(home: Path, tmp_path: Path) -> None:
    for _ in range(2):
        write(tmp_path / "catalog.db")
    assert not log_of(tmp_path / "catalog.db").exists()


def test_a_run_makes_an_engine_and_few_connections_for_each_file_and_not_some_for_each_event(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    connected: list[str] = []
    make = sqlalchemy.create_engine

    def counting(url: str, **how: object) -> sqlalchemy.Engine:
        made.append(url)
        engine = make(url, **how)
        event.listen(engine, "connect", lambda *_: connected.append(url))
        return engine

    @dg.op
    def work() -> None:
        """Do nothing."""

    @dg.job(executor_def=dg.in_process_executor)
    def working() -> None:
        for number in range(5):
            work.alias(f"work_{number}")()

    read: list[ScriptDirectory] = []
    revisions = ScriptDirectory._load_revisions

    def reading(scripts: ScriptDirectory) -> Iterator[Script]:
        read.append(scripts)
        return revisions(scripts)

    monkeypatch.setattr(sqlalchemy, "create_engine", counting)
    monkeypatch.setattr(ScriptDirectory, "_load_revisions", reading)
    with dg.DagsterInstance.get() as instance:
        run_id = working.execute_in_process(instance=instance).run_id
        assert len(instance.all_logs(run_id)) > 20
        assert len(read) <= 3, "the migrations of runs, events and schedules, unless they are known"
        assert working.execute_in_process(instance=instance).success
    assert len(read) <= 3
    assert len(made) == len({*made}), "one for each"
    assert any(run_id in url for url in made)
    below = [url for url in connected if str(home) in url]
    assert {*below} == {url for url in made if str(home) in url}
    assert max(Counter(below).values()) <= 2


def test_no_more_files_stay_open_than_are_worth_it(home: Path) -> None:
    files = [home / f"run-{number}.db" for number in range(KEPT_FILES + 3)]
    for file in (file for file in files for _ in range(2)):
        write(file)
    assert [log_of(file).exists() for file in files] == [False] * 3 + [True] * KEPT_FILES


def test_a_file_that_takes_the_place_of_another_has_what_is_written_to_it(home: Path) -> None:
    file = home / "runs.db"
    for _ in range(2):
        write(file)
    for gone in home.iterdir():
        gone.unlink()
    for number in (3, 4):
        write(file, number)
    close_run_history()
    assert numbers(file) == [3, 4]


def test_a_run_whose_process_is_killed_right_after_it_is_recorded_to_its_last_event(
    tmp_path: Path,
) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}")
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_A_RUN],
        env={**os.environ, "DAGSTER_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    run_id = done.stdout.strip()
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.is_success
        said = [one.dagster_event_type for one in instance.all_logs(run_id) if one.is_dagster_event]
    assert {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.RUN_SUCCESS} <= {*said}
