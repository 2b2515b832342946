"""`billing-lake alerts test`: sends a sample through each notifier of the project's alert policies."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from billing_lake.domain.errors import BillingLakeError, ConfigurationError

if TYPE_CHECKING:
    from billing_lake.alerts.rendering import Message
    from billing_lake.components import AlertPolicy


@click.group(short_help="Try the notifiers of the alert policies.")
def alerts() -> None:
    """Work with the alert policies of the folder of exports (BILLING_LAKE_DEFS)."""


@alerts.command("test", short_help="Send a sample through each notifier.")
@click.option("--policy", "chosen", default="", help="Only this policy.")
@click.pass_context
def send_test(context: click.Context, chosen: str) -> None:
    """Send a sample alert through each notifier of each policy, and say what came of it.

    Quiet hours do not hold it back. Exits with 1 where a notifier did not take it.
    """
    found = [one for one in _policies() if chosen in {"", one.name}]
    if not found:
        what = f"There is no alert policy {chosen}" if chosen else "There is no alert policy"
        remedy = "Write one, as docs/alerts.md shows"
        raise ConfigurationError(what, remedy=remedy)
    failed = False
    message = sample_message(os.environ.get("BILLING_LAKE_UI_URL", ""))
    for policy in sorted(found, key=lambda one: one.name):
        for settings in policy.notifiers:
            notifier = settings.notifier
            try:
                notifier.send(message)
            except BillingLakeError as error:
                failed = True
                click.echo(f"{policy.name}: {notifier.name}: FAILED. {error}")
            else:
                click.echo(f"{policy.name}: {notifier.name}: sent")
    if failed:
        context.exit(1)


def sample_message(ui_url: str) -> Message:
    """Return an alert as a failed check makes it, marked as a test."""
    from billing_lake.alerts.changes import AlertGroup, StatusChange
    from billing_lake.alerts.rendering import Renderer

    now = datetime.now(timezone.utc)
    change = StatusChange(
        kind="check",
        name="equals_delivery",
        is_red=True,
        severity="ERROR",
        export="sample",
        asset="sample/iceberg_table",
        period="2025-03",
        found="This is a test of billing-lake alerts; nothing is wrong",
        table="| figure | expected | found |\n| --- | --- | --- |\n| rows | 20,000 | 19,999 |",
        since=now,
        at=now,
    )
    return Renderer(ui_url).message(AlertGroup(id=f"test-{now:%Y%m%d%H%M%S}", changes=(change,)))


def _policies() -> list[AlertPolicy]:
    from pathlib import Path

    import dagster as dg

    from billing_lake.commands.defs_folder import defs_folder
    from billing_lake.components import AlertPolicy
    from billing_lake.components.broken_exports import require_readable
    from billing_lake.definitions import exports_folder
    from billing_lake.landing.export_yaml import DEFS_SETTING

    # Where `load` has written exports, the policies lie beside them.
    own = defs_folder(os.environ)
    settings = {**os.environ, DEFS_SETTING: str(own)} if own.is_dir() else os.environ
    folder = exports_folder(settings)
    tree = dg.ComponentTree.from_module(folder, Path(folder.__path__[0]).parent)
    require_readable(tree.defs_module_path)
    found = tree.get_all_components(AlertPolicy)
    for one in found:
        if one.fault is not None:
            raise one.fault
    return list(found)
