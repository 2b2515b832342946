"""The use cases of the lake: crawl, load, prove, rebuild, static files, clean-up, create and delete.

They know no Dagster: assets, checks, jobs and sensors call them, and so may a script; `docs/architecture.md` shows one.
"""

from billing_lake.loads.crawl import crawl
from billing_lake.loads.load import Loaded, Loader
from billing_lake.loads.prove import prove
from billing_lake.tables.exports import Export, Table

__all__ = ["Export", "Loaded", "Loader", "Table", "crawl", "prove"]
