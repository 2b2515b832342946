"""What programs that a command starts write to the terminal."""

import os
import subprocess
from pathlib import Path

import pytest

from billing_lake.commands.terminal import programs_write_to

SPEAK = ["sh", "-c", "echo said; echo complained >&2"]


def test_programs_write_into_the_file_while_it_lasts_and_to_the_terminal_afterwards(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    with log.open("w") as file:
        with programs_write_to(file):
            subprocess.run(SPEAK, check=True)
            late = subprocess.Popen(
                ["sh", "-c", "read line; echo $line >&2"], stdin=subprocess.PIPE
            )
        os.write(1, b"back\n")
        late.communicate(b"a JVM goes on\n")
    assert log.read_text() == "said\ncomplained\na JVM goes on\n"
    assert capfd.readouterr() == ("back\n", "")


def test_streams_come_back_after_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "log").open("w") as file:
        with pytest.raises(ZeroDivisionError), programs_write_to(file):
            raise ZeroDivisionError
        subprocess.run(SPEAK, check=True)
    assert capfd.readouterr() == ("said\n", "complained\n")
