"""Resources that Dagster hands to assets: Spark sessions, Glue jobs, Athena; and what those need."""
