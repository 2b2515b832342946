"""Alerts: what fails, warns or is green again, put into words, kept until it is delivered. Knows no Dagster."""
