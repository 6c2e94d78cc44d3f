"""What neurons do to samples: activation patterns, sampling, drift."""
