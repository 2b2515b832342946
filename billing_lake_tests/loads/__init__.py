"""Tests of `billing_lake.loads`."""
