"""How far a network is from the optimum: the ladder, its file, its checker."""
