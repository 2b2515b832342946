"""Alerts: what turned red or green, put into words, kept until it is delivered. Knows no Dagster."""
