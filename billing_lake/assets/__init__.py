"""Factories of assets, one file per table."""
