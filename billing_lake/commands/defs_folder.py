"""Finds the folder of `defs.yaml` files: where `load` writes them, and where `inspect` says that they belong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tomli

from billing_lake.landing.export_yaml import DEFS_SETTING


def defs_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of exports: the one that is set, that of the Dagster project around us, or `defs` in this folder."""
    if chosen := environment.get(DEFS_SETTING):
        return Path(chosen).expanduser().absolute()
    here = Path.cwd()
    found = (_of_project(folder) for folder in (here, *here.parents))
    return next((folder for folder in found if folder is not None), here / "defs")


def _of_project(folder: Path) -> Path | None:
    """Return the folder of definitions of the Dagster project in ``folder``; None where there is no project."""
    try:
        with (folder / "pyproject.toml").open("rb") as file:
            settings = tomli.load(file)
        project = settings["tool"]["dg"]["project"]
        module = str(project.get("defs_module") or f"{project['root_module']}.defs")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    inner = Path(*module.split("."))
    source = folder / "src"
    return source / inner if (source / inner.parts[0]).is_dir() else folder / inner
