"""Settings of a certificate."""

from __future__ import annotations

from dataclasses import dataclass

from reluopt.config import Config, setting
from reluopt.patterns.pattern_set import KINK_TOLERANCE
from reluopt.plugins import SOLVERS


@dataclass(frozen=True, kw_only=True)
class CertifyConfig(Config):
    """How much work to put into a certificate, and which comparisons to make."""

    effort: str = setting(
        "standard",
        "The lower bound on p*: fast (moment bound with affine slopes, seconds; at small rank three seconds more), "
        "standard or thorough (tightened for 15 s or 120 s, and up to four times that on large data).",
        choices=("fast", "standard", "thorough"),
    )
    time_limit: float | None = setting(
        None,
        "Seconds for the whole certificate (default: 60, 90 or 240 by effort, up to four times that on large data).",
        above=0.0,
    )
    time_budget: float = setting(
        30.0, "Seconds for the convex programs; when they end, the brackets reached so far stand.", minimum=0.0
    )
    solver: str = setting(
        "native",
        "Solver of the convex programs: reluopt's own, CVXPY's, or one that an installed package announces.",
        choices=("native", "clarabel", "scs"),
        group=SOLVERS,
    )
    device: str = setting(
        "cpu",
        "Torch device where bounds are searched, and convex programs of one output solved: cpu, cuda, ... What is "
        "proved is computed on the processor.",
    )
    tolerance: float = setting(1e-6, "Relative duality gap at which a program counts as solved.", above=0.0)
    gaussian_patterns: int = setting(50, "Gates of the Gaussian relaxation to compare with (0: leave out).", minimum=0)
    seed: int = setting(0, "Seed of the Gaussian gates and of the pricing search.", minimum=0)
    kink_tolerance: float = setting(
        KINK_TOLERANCE, "|x·u| up to this times ‖x‖‖u‖ counts as a kink: the pattern takes both sides.", minimum=0.0
    )
    kink_cap: int = setting(1000, "At most this many patterns are added for the other sides of kinks.", minimum=0)
