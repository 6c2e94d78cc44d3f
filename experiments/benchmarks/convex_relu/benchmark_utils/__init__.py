"""What the benchopt benchmark and compare.py share: instances, peers, and the judge."""
