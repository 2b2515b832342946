"""Tests of `billing_lake.landing`."""
