"""Tests of `billing_lake.tables`."""
