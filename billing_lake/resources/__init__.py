"""What Dagster hands to assets from outside the lake's own code: Spark sessions, Glue jobs, Athena; and what those need."""
