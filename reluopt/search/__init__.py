"""Going below the relaxation: pricing and refinement."""
