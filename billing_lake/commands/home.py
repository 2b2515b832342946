"""Where the commands find the lake, and what they look at before they write into it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from billing_lake.domain.errors import ConfigurationError, TableError
from billing_lake.domain.layouts import ExportLocation

if TYPE_CHECKING:
    from billing_lake.deployments import LocalLake


def local_lake() -> LocalLake:
    """Return the lake on this machine.

    Raises:
        ConfigurationError: The environment chooses a deployment that does not exist, or one that is elsewhere.
    """
    from billing_lake.deployments import DEPLOYMENT_SETTING, LocalLake, open_lake

    lake = open_lake()
    if not isinstance(lake, LocalLake):
        what = "The command line works on a lake of this machine"
        raise ConfigurationError(what, remedy=f"Set {DEPLOYMENT_SETTING} to local")
    return lake


def existing_lake(lake: LocalLake) -> LocalLake:
    """Return ``lake``, which must have been loaded before: looking must not make one.

    Raises:
        TableError: There is none.
    """
    if not (lake.home / "catalog").is_dir():
        what = f"There is no lake at {lake.home} yet"
        remedy = "Run `billing-lake demo`, or set BILLING_LAKE_HOME to the folder of a lake"
        raise TableError(what, remedy=remedy)
    return lake


def require_writable(folder: Path) -> None:
    """Make ``folder`` and see that it can be written to.

    Raises:
        ConfigurationError: It cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        what = f"The folder cannot be written to: {error.strerror or error}"
        remedy = "Set BILLING_LAKE_HOME (or --root of `sample`) to a folder that you may write to"
        raise ConfigurationError(what, file=str(folder), remedy=remedy) from error


def require_sample(root: Path, export: ExportLocation, period: str) -> None:
    """Refuse to put sample data in the place of a delivery that no sample wrote.

    Raises:
        ConfigurationError: The billing period has such a delivery.
    """
    from billing_lake.sample.catalogue import PAYER

    if export.layout == "loose":
        return
    manifest = root / export.manifest_key(period)
    if not manifest.exists():
        return
    try:
        account = json.loads(manifest.read_bytes()).get("account")
    except (ValueError, AttributeError):
        account = None
    if account != PAYER:
        what = f"Billing period {period} has a delivery that is no sample; it is not overwritten"
        remedy = "Choose another folder with BILLING_LAKE_HOME, or other months"
        raise ConfigurationError(what, file=str(manifest), remedy=remedy)
