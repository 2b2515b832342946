"""Says what billing deliveries mean, as pure Python: no I/O, no Dagster, no engine.

Everything here runs on the standard library alone, so that a Spark job can carry it.
"""
