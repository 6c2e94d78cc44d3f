"""One deadline for a whole command, shared by everything that it calls."""

from __future__ import annotations

import math
import time


class Clock:
    """Counts down from ``seconds`` (None: no limit).

    Parameters
    ----------
    seconds : of wall-clock time from now.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.started = time.perf_counter()
        self.end = math.inf if seconds is None else self.started + seconds

    @property
    def spent(self) -> float:
        """Seconds since the clock was started."""
        return time.perf_counter() - self.started

    @property
    def left(self) -> float:
        """Seconds until the deadline; never negative, ``inf`` without one."""
        return max(0.0, self.end - time.perf_counter())

    def stop(self) -> None:
        """Let the time be over now."""
        self.end = time.perf_counter()

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return time.perf_counter() >= self.end

    def part(self, share: float = 1.0, most: float = math.inf) -> Clock:
        """A clock that ends after ``share`` of what is left, after ``most`` seconds, and never after this one."""
        left = min(share * self.left, most)
        return Clock(left if math.isfinite(left) else None)
