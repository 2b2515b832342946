"""The front door of the code location: everything in `defs/`, for the deployment that the environment chooses."""

import warnings
from pathlib import Path

import dagster as dg

# Dagster warns of a constructor that it calls itself, for every project with asset checks.
warnings.filterwarnings(
    "ignore",
    category=dg.BetaWarning,
    module=r"dagster\._core\.definitions\.repository_definition\.",
)


@dg.definitions
def defs() -> dg.Definitions:
    """Load everything in `defs/`."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
