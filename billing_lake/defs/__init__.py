"""What this project instantiates; Dagster loads this folder."""
