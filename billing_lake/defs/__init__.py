"""Holds what this project instantiates; Dagster loads this folder."""
