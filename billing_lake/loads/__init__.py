"""The use cases of the lake: crawl, load, rebuild, static files, clean-up, create and delete.

They know no Dagster: assets, checks, jobs and sensors call them, and so may a script; `docs/architecture.md` shows one.
"""
