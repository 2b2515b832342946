"""Tables: finished Parquet files are placed and committed here, one billing period at a time.

A catalog knows tables, fields and files. It knows no CSV, no engine and no Dagster.
"""
