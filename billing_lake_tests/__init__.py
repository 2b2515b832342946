"""Tests of Billing Lake; the folders mirror the package."""
