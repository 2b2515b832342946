"""Tests of `billing_lake.storage`."""
