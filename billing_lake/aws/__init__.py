"""Holds what the lake knows of AWS as a whole: the kinds of its errors, retries, settings, rights and clients."""
