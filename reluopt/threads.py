"""Threads: many small matrix products are faster on one, and much faster where other programs use the cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

#: Floating point operations of one matrix product, or one training step, from which on a second thread pays. Below,
#: threads mostly wait for each other (measured on a busy machine: four to ten times slower than one).
WORTH_A_THREAD = 3e8


@contextmanager
def one_thread_if_small(operations: float) -> Iterator[None]:
    """Within it torch, BLAS and OpenMP use one thread if a step has fewer than ``WORTH_A_THREAD`` operations."""
    if operations >= WORTH_A_THREAD:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)
