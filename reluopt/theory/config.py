"""The settings of `reluopt theory`."""

from __future__ import annotations

from dataclasses import dataclass

from reluopt.config import Config, setting


@dataclass(frozen=True, kw_only=True)
class TheoryConfig(Config):
    """Settings of `reluopt theory`."""

    patterns: int = setting(100, "Gaussian gates to sample, P.", minimum=1)
    cones: int = setting(20, "Sampled cones whose sharpness is measured.", minimum=1)
    delta: float = setting(0.1, "Probability δ with which the counts may fail.", above=0.0, maximum=0.999)
    seed: int = setting(0, "Seed of the gates and directions.", minimum=0)
    time_budget: float = setting(
        60.0, "Seconds for each of the two convex programs (0 solves none) and, up to 60, the lower bound.", minimum=0.0
    )
