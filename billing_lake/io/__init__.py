"""Keeps the small values that pass between assets, as JSON that a person can read."""
