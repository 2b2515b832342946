"""Finds the folder of the lake, and sees that it can be written to."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from billing_lake.domain.errors import ConfigurationError, TableError

if TYPE_CHECKING:
    from billing_lake.deployments import LocalLake


def require_own_home() -> Path:
    """Return the folder of the user's own lake on this machine.

    Raises:
        ConfigurationError: The environment chooses a deployment that does not exist, or one that is elsewhere.
    """
    from billing_lake.deployments import DEPLOYMENT_SETTING, chosen_deployment, local

    if chosen_deployment(os.environ) == "aws":
        what = "This command works on a lake of this machine"
        raise ConfigurationError(what, remedy=f"Set {DEPLOYMENT_SETTING} to local")
    return local.own_home(os.environ)


def own_landing() -> Path:
    """Return the folder that exports of the user's own lake are delivered to.

    Raises:
        ConfigurationError: As `require_own_home`, or the landing folder that the environment names cannot be one.
    """
    from billing_lake.deployments import local

    home = require_own_home()
    return local.landing_folder(os.environ) or home / "landing"


def existing_lake(lake: LocalLake) -> LocalLake:
    """Return ``lake``, which must have been loaded before: looking must not make one.

    Raises:
        TableError: There is none.
    """
    if not (lake.home / "catalog").is_dir():
        what = f"There is no lake at {lake.home} yet"
        remedy = (
            "Load a bill with `billing-lake load FOLDER`, see a sample with `billing-lake demo`, or set BILLING_LAKE_HOME to the "
            "folder of a lake"
        )
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
