"""Shows what `billing-lake load` says beside its table: warnings, what was left alone, what is broken, and what comes next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from billing_lake.commands.terminal import typed_path, typed_program
from billing_lake.landing.export_yaml import FILE

if TYPE_CHECKING:
    from rich.console import Console

    from billing_lake.commands.load_warnings import LoadWarning
    from billing_lake.commands.own_exports import BrokenExport

LOAD_LOG = "load.log"

_ALERTS = "billing_lake.components.AlertPolicy"


def show_warnings(out: Console, warnings: Sequence[LoadWarning]) -> None:
    """Show what concerns more than one delivery."""
    from rich.text import Text

    for one in warnings:
        out.print(Text(f"! {one.text}", style="yellow"), soft_wrap=True)


def show_broken(out: Console, broken: Sequence[BrokenExport]) -> None:
    """Show which files describe no export, and why."""
    from rich.text import Text

    for one in broken:
        out.print(Text(f"✗ {one.name}: {one.fault}", style="red"), soft_wrap=True)


def show_next(out: Console, home: Path, folder: Path, tables: Sequence[str]) -> None:
    """Show how to ask the tables, if there are any, and to see them in Dagster's pages."""
    from billing_lake.deployments import HOME_SETTING
    from billing_lake.landing.export_yaml import DEFS_SETTING
    from billing_lake.landing.local import LANDING_SETTING

    at = f"{HOME_SETTING}={shlex.quote(typed_path(home))} "
    landing = os.environ.get(LANDING_SETTING)
    from_ = f"{LANDING_SETTING}={shlex.quote(landing)} " if landing else ""
    query = f"{at}{shlex.quote(typed_program())} query --named cost-by-service --table"
    dagster = f"DAGSTER_HOME={shlex.quote(str(home / 'dagster'))} {shlex.quote(typed_program('dagster'))} dev -m billing_lake.definitions"
    lines = (
        *(("Ask", f"{query} {table}") for table in tables[:1]),
        ("See", f"{at}{from_}{DEFS_SETTING}={shlex.quote(typed_path(folder))} {dagster}"),
        *(() if _has_alerts(folder) else (("Tell", _alerts_of(folder)),)),
        ("Log", typed_path(home / LOAD_LOG)),
    )
    for title, text in lines:
        out.print(f"{title}  {text}", soft_wrap=True, markup=False)


def _has_alerts(folder: Path) -> bool:
    """Say whether a file in ``folder`` describes an alert policy."""
    return any(_ALERTS in file.read_text("utf-8", "replace") for file in folder.rglob(FILE))


def _alerts_of(folder: Path) -> str:
    file = shlex.quote(typed_path(folder / "alerts" / FILE))
    policy = f"{{type: {_ALERTS}, attributes: {{name: finops, notifiers: [{{kind: log}}]}}}}"
    return (
        "nobody is told yet when a check fails. For a line in the log (docs/alerts.md has e-mail, Slack and others): "
        f"mkdir -p $(dirname {file}) && echo '{policy}' > {file}"
    )
