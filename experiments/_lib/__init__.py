"""What the studies share: their frame, and how they state their problems."""
