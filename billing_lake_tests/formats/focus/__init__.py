"""FOCUS."""
