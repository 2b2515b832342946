"""The front door of the code location: everything in `defs/`, for the deployment that the environment chooses."""

import warnings
from pathlib import Path

import dagster as dg

from billing_lake.assets.export import knowingly

# Dagster warns of what it calls itself: for every project with asset checks, and in every run of a Glue job.
for category, module in (
    (dg.BetaWarning, r"dagster\._core\.definitions\.repository_definition\."),
    (dg.PreviewWarning, r"dagster\._core\.pipes\.context"),
):
    warnings.filterwarnings("ignore", category=category, module=module)


@dg.definitions
def defs() -> dg.Definitions:
    """Load everything in `defs/`.

    `dg.load_from_defs_folder` does this too, and then imports every component of every installed package, for the UI's pages
    about components: all of dagster-aws and boto3, in each process, whatever the deployment.
    """
    tree = dg.ComponentTree.for_project(Path(__file__).parent)
    with knowingly(dg.BetaWarning, dg.PreviewWarning, DeprecationWarning):
        found = tree.build_defs(tree.defs_module_path)
    return dg.Definitions.merge(found, dg.Definitions(component_tree=tree))
