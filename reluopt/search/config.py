"""The settings of `reluopt relax`, `reluopt solve`, `reluopt refine` and `reluopt path`."""

from __future__ import annotations

from dataclasses import dataclass

from reluopt.config import Config, setting, short
from reluopt.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class SolveConfig(Config):
    """How long to search, and when it is enough."""

    gap: float = setting(0.05, "Stop when L is proved to be at most so much above the optimum.", above=0.0)
    budget: float = setting(120.0, "Seconds for network and bound together.", above=0.0)
    tolerance: float = setting(1e-4, "A network is done when no neuron is dearer than β(1 + tolerance).", above=0.0)
    seed: int = setting(0, "Seed of the starts of pricing.", minimum=0)
    device: str = setting(
        "cpu", "Torch device where bounds are searched: cpu, cuda, ... What is proved is computed on the processor."
    )


@dataclass(frozen=True, kw_only=True)
class PathConfig(Config):
    """A path over β."""

    fractions: str = setting("0.5,0.2,0.1,0.05,0.02,0.01", "β as fractions of β_max, separated by commas.")
    gap: float = setting(0.05, "At each β: stop when L is proved to be at most so much above the optimum.", above=0.0)
    budget: float = setting(120.0, "Seconds for the whole path.", above=0.0)
    seed: int = setting(0, "Seed of the starts of pricing.", minimum=0)
    device: str = setting(
        "cpu", "Torch device where bounds are searched: cpu, cuda, ... What is proved is computed on the processor."
    )

    @property
    def numbers(self) -> tuple[float, ...]:
        """The fractions.

        Raises
        ------
        ConfigError : not numbers above 0.
        """
        try:
            found = tuple(float(part) for part in self.fractions.split(","))
        except ValueError:
            found = ()
        if not found or not all(0 < number < float("inf") for number in found):
            raise ConfigError(f"'fractions' is {short(self.fractions)}.", "Give numbers above 0, as in 0.5,0.1,0.01.")
        return found


@dataclass(frozen=True, kw_only=True)
class RelaxConfig(Config):
    """Settings of `reluopt relax`."""

    patterns: int = setting(100, "Distinct Gaussian patterns P.", minimum=1)
    seed: int = setting(0, "Seed of the gates.", minimum=0)
    tolerance: float = setting(1e-6, "Relative gap of the convex program to stop at.", above=0.0, maximum=0.1)
    time_limit: float | None = setting(None, "Seconds for the convex program.", above=0.0)
    device: str = setting(
        "cpu", "Torch device where the program of one output without biases is solved: cpu, cuda, ..."
    )
