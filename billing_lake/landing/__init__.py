"""Finds deliveries: lists, opens and pins report files, and joins them with the pure rules of `domain`."""
