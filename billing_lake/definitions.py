"""The front door of the code location: the exports of a folder, for the deployment that the environment chooses."""

import sys
import warnings
from collections.abc import Mapping
from os import environ
from pathlib import Path
from types import ModuleType

import dagster as dg

import billing_lake.defs
from billing_lake.assets.export import without_warnings_of
from billing_lake.components.broken_exports import require_readable
from billing_lake.components.demo_export import demo_defs
from billing_lake.components.type_names import name_types_by_loaded_packages
from billing_lake.deployments import chosen_deployment
from billing_lake.deployments.local import home_folder, is_demo
from billing_lake.domain.errors import ConfigurationError, shown
from billing_lake.landing.export_yaml import DEFS_SETTING
from billing_lake.resources.run_history import keep_run_history_open


def leave_out_known_warnings() -> None:
    """Keep Dagster from warning, in each process, of what it calls itself, and of owners of jobs, schedules and sensors.

    It warns for every project with asset checks, in every run of a Glue job, and of owners at each copy that it makes of a definition.
    """
    for category, message, module in (
        (dg.BetaWarning, "", r"dagster\._core\.definitions\.repository_definition\."),
        (dg.BetaWarning, "Parameter `owners` of ", ""),
        (dg.PreviewWarning, "", r"dagster\._core\.pipes\.context"),
    ):
        warnings.filterwarnings("ignore", message, category, module)


leave_out_known_warnings()

_DEFS_MODULE = "billing_lake_exports"


@dg.definitions
def defs() -> dg.Definitions:
    """Load everything in the folder of exports; for the demo's lake, the demo's export and alerts and nothing else.

    `dg.load_from_defs_folder` does this too, and then imports every component of every installed package, for the UI's pages
    about components: all of dagster-aws and boto3, in each process, whatever the deployment.
    """
    keep_run_history_open()
    name_types_by_loaded_packages()
    folder = exports_folder(environ)
    tree = dg.ComponentTree.from_module(folder, Path(folder.__path__[0]).parent)
    with without_warnings_of(dg.BetaWarning, dg.PreviewWarning, DeprecationWarning):
        if chosen_deployment(environ) != "aws" and is_demo(home_folder(environ)):
            found = demo_defs(tree.load_context)
        else:
            require_readable(tree.defs_module_path)
            found = tree.build_defs(tree.defs_module_path)
    return dg.Definitions.merge(
        found, dg.Definitions(executor=dg.in_process_executor, component_tree=tree)
    )


def exports_folder(environment: Mapping[str, str]) -> ModuleType:
    """Return the folder of exports that the environment chooses, as the package that Dagster takes it for.

    Raises:
        ConfigurationError: It is no folder.
    """
    chosen = environment.get(DEFS_SETTING)
    if not chosen:
        return billing_lake.defs
    folder = Path(chosen).expanduser().absolute()
    if not folder.is_dir():
        what = f"{DEFS_SETTING} is {shown(folder)!r}, which is no folder"
        remedy = "Set it to a folder that has a folder with a defs.yaml for each export"
        raise ConfigurationError(what, remedy=remedy)
    module = ModuleType(_DEFS_MODULE)
    module.__path__ = [str(folder)]
    module.__file__ = str(folder / "__init__.py")
    sys.modules[_DEFS_MODULE] = module
    return module
