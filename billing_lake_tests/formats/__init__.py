"""Tests of `billing_lake.formats`."""
