"""Holds what all tables of AWS Data Exports share, CUR 2.0 and FOCUS too: layouts, manifests, files, and which table a manifest is of."""
