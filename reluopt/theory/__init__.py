"""The paper's quantities and theorems, one function each, found by its number."""
