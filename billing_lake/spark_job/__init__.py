"""The PySpark program that a Spark session here and a Glue job both run: the engine's verbs, plain functions on a session.

It travels to places where nothing else of the lake is installed, so it imports the standard library, pyspark,
dagster-pipes and `billing_lake.domain`, and no more. Commits stay where they are: in the catalogs.
"""
