"""Data sets: built in, synthetic, from files; every check of input data."""
