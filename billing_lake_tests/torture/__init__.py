"""Kills, faults and races: the same code in a few tests of `make test`, and for as long as is asked for in `make torture`."""
