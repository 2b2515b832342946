"""Engines move data: they total files and turn report files into typed Parquet. They know no table and no catalog."""
