"""One `solve(program, solver)`; solvers know programs only through their protocol."""
