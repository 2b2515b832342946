"""Tests of `billing_lake.domain`."""
