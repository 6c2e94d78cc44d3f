"""One deadline for a whole command, shared by everything that it calls."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Clock:
    """Counts down from ``seconds`` (None: no limit).

    Parameters
    ----------
    seconds : of time from now.
    now : what tells the time; wall-clock time unless given. ``time.process_time`` counts processor seconds.
    """

    def __init__(self, seconds: float | None = None, now: Callable[[], float] | None = None) -> None:
        self.now = time.perf_counter if now is None else now
        self.started = self.now()
        self._end = math.inf if seconds is None else self.started + seconds
        self._whole: Clock | None = None
        self._idle, self._idle_before = 0.0, 0.0

    @property
    def idle(self) -> float:
        """Seconds that this clock, or one that it is a part of, was paused since it was started."""
        return self._idle + (0.0 if self._whole is None else self._whole.idle - self._idle_before)

    @property
    def end(self) -> float:
        """When it is over, as ``now`` counts: pauses make it later, but never later than that of which it is a part."""
        end = self._end + self.idle
        return end if self._whole is None else min(end, self._whole.end)

    def pause(self) -> None:
        """Stand still until ``go_on``, which comes before anything else is asked of it."""
        self._idle -= self.now()

    def go_on(self) -> None:
        """Run again."""
        self._idle += self.now()

    def stop(self) -> None:
        """Time is over now, for this clock and all its parts; any thread may call it."""
        self._end = -math.inf

    def extend(self) -> None:
        """Last as long as the clock that this one is a part of; any thread may call it."""
        self._end = math.inf

    @property
    def spent(self) -> float:
        """Seconds since the clock was started, without those that it was paused."""
        return self.now() - self.started - self.idle

    @property
    def left(self) -> float:
        """Seconds until the deadline; never negative, ``inf`` without one."""
        return max(0.0, self.end - self.now())

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return self.now() >= self.end

    def part(self, share: float = 1.0, most: float = math.inf) -> Clock:
        """A clock that ends after ``share`` of what is left, after ``most`` seconds, and never after this one."""
        left = min(share * self.left, most)
        part = Clock(left if math.isfinite(left) else None, self.now)
        part._whole, part._idle_before = self, self.idle
        return part
