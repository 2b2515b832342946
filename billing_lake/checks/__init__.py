"""Factories of asset checks."""
