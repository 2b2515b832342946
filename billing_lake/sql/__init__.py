"""SQL over the tables of a lake: named queries, DuckDB on this machine, Athena on AWS."""
