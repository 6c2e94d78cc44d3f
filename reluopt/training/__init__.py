"""Going down by gradient. Knows nothing convex."""
