"""Tests of `billing_lake.catalogs`."""
