"""Real servers for tests, on this machine and without an account: S3, S3 Tables, Glue, Athena, Spark.

A mock answers what its author thought that a service answers. These parts store the bytes, keep the
catalogs and run the jobs, so a test sees what happened and not what was called.
"""
