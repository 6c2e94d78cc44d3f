"""Sweeps: many runs as the rows of one table, on the cores of a machine or on a Ray cluster."""
