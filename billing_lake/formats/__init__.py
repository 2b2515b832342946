"""Formats of billing exports: what the columns of a report mean, where its files lie, what a manifest says.

The only package, beside the samples and the named queries, that knows column names. A format is one module or package here, and
one line of `registry.FORMATS`.
"""
