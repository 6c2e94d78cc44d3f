"""The gated ReLU program, KP eq. (4), (5): patterns without their cones."""

from __future__ import annotations

from typing import ClassVar

from reluopt.programs.pattern_program import PatternProgram


class GatedProgram(PatternProgram):
    r"""min ½‖Σ D_i X w_i − y‖² + β Σ‖w_i‖: a group lasso, one block a pattern. Blocks are (1, P, d).

    Over all patterns it bounds p* from below; over a sampled set it has **no fixed order** with p*.
    """

    sides: ClassVar[tuple[float, ...]] = (1.0,)
    has_cones: ClassVar[bool] = False
    name: ClassVar[str] = "gated"
