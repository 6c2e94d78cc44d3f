"""Lower bounds on the global optimum p*."""
