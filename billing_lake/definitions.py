"""The front door of the code location: everything in `defs/`, for the deployment that the environment chooses."""

import warnings
from pathlib import Path

import dagster as dg

# Dagster warns of what it calls itself: for every project with asset checks, and in every run of a Glue job.
for category, module in (
    (dg.BetaWarning, r"dagster\._core\.definitions\.repository_definition\."),
    (dg.PreviewWarning, r"dagster\._core\.pipes\.context"),
):
    warnings.filterwarnings("ignore", category=category, module=module)


@dg.definitions
def defs() -> dg.Definitions:
    """Load everything in `defs/`."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
