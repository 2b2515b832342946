"""Tests of `billing_lake.formats.legacy_cur`."""
