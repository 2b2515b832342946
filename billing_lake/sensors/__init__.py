"""Factories of sensors."""
