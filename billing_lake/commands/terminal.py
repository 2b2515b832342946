"""Consoles, exit codes and the panels in which all commands show their errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from billing_lake.domain.errors import BillingLakeError, ConfigurationError, shown

if TYPE_CHECKING:
    from rich.console import Console

PIPED_CHARACTERS = 110
"""Columns of text that goes into a file or a pipe, where no terminal says how wide it is."""

EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2
EXIT_INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""


class PanelGroup(click.Group):
    """A group of commands whose errors on purpose are shown as a panel: what, where, and what to do."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except BillingLakeError as error:
            if ctx.params.get("debug"):
                raise
            show_error(error)
            ctx.exit(EXIT_MISCONFIGURED if isinstance(error, ConfigurationError) else EXIT_FAILED)


def console(file: TextIO | None = None) -> Console:
    """Return a console on ``file``, or on standard output."""
    from rich.console import Console

    target = sys.stdout if file is None else file
    width = None if target.isatty() or "COLUMNS" in os.environ else PIPED_CHARACTERS
    return Console(file=target, width=width, highlight=False)


@contextmanager
def kept_stdout() -> Iterator[TextIO]:
    """Give a text stream to today's standard output that stays usable while others redirect `sys.stdout` or fd 1.

    Dagster captures the file descriptors of its steps.
    """
    try:
        descriptor = os.dup(sys.stdout.fileno())
    except (OSError, ValueError):
        yield sys.stdout
        return
    with os.fdopen(descriptor, "w", encoding=sys.stdout.encoding, errors="replace") as stream:
        yield stream


@contextmanager
def output_into(log: Path) -> Iterator[None]:
    """Write into the file ``log`` what Dagster and Spark print meanwhile: there is more of it than anybody wants to read."""
    with (
        log.open("w", encoding="utf-8") as file,
        redirect_stdout(file),
        redirect_stderr(file),
        programs_write_to(file),
    ):
        yield


@contextmanager
def programs_write_to(file: TextIO) -> Iterator[None]:
    """Let ``file`` take what is written past `sys.stdout` and `sys.stderr`, by a JVM that is started meanwhile above all.

    Such a program keeps its streams: it goes on writing there afterwards.
    """
    kept = []
    try:
        for descriptor in (1, 2):
            with suppress(OSError):  # whoever started this process may have closed it
                kept.append((os.dup(descriptor), descriptor))
                os.dup2(file.fileno(), descriptor)
        yield
    finally:
        for copy, descriptor in kept:
            os.dup2(copy, descriptor)
            os.close(copy)


def typed_path(path: Path) -> str:
    """Return a path as one types it in the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def typed_program(name: str = "billing-lake") -> str:
    """Return how `billing-lake` was called, or a program beside it would be: no shell knows those of an environment."""
    called = Path(sys.argv[0])
    return typed_path(called.with_name(name)) if called.name == "billing-lake" else name


def show_error(error: BillingLakeError) -> None:
    """Show an error as a panel on standard error."""
    from rich.panel import Panel
    from rich.text import Text

    place = [
        f"{label}: {shown(value)}"
        for label, value in (
            ("file", error.file),
            ("line", error.line),
            ("column", error.column),
            ("value", error.value),
        )
        if value is not None
    ]
    text = Text(error.what)
    if place:
        text.append("\n" + "\n".join(place), style="dim")
    if error.how:
        text.append(f"\n\n{error.how}")
    console(sys.stderr).print(
        Panel(text, title=type(error).__name__, title_align="left", border_style="red")
    )
