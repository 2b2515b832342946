"""Factories of jobs that an operator starts."""
