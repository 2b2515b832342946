"""Renderers: one for each format, which writes canonical rows as that format's report files.

A renderer writes one delivery: it names the columns, spells the cells, and knows the report files, the manifest and the
folders. `deliveries.write_files` makes the rows and asks for `tags`, `files`, `render`, `report`, `commit` and `totals`, as
`LegacyCur` has them. The same month has the same rows in every format, and so the same money, as far as a format tells of it.
"""
