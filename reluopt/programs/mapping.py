"""Between convex programs and networks, both ways (Pilanci & Ergen 2020; design of KP section 1)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from reluopt import neurons
from reluopt.errors import ConfigError, DataError
from reluopt.network import TwoLayerReLU, from_weights
from reluopt.patterns.pattern_set import PatternSet, activation_patterns
from reluopt.problem import Problem
from reluopt.programs.convex import ConvexProgram
from reluopt.programs.matrices import split


def network_from_blocks(
    blocks: Float[np.ndarray, "k P e"], outputs: int = 1, program: ConvexProgram | None = None
) -> TwoLayerReLU:
    """The balanced network of feasible relaxed blocks: v_i ↦ (v_i/√‖v_i‖, √‖v_i‖), w_i ↦ (w_i/√‖w_i‖, −√‖w_i‖).

    Blocks of C = ``outputs`` > 1 are (k, P, d + C), its neurons already, and are balanced. For blocks in their cones
    the network has the program's fit and L equals the program's value. Zero blocks make no neuron; all zero blocks make
    one zero neuron. ``program`` : that of the blocks, which must be given where its problem has biases of its own; what
    an intercept of the problem cannot be is then a neuron without inputs, of next to no cost.
    """
    if program is not None and program.problem.biases:
        problem = program.problem
        if problem.outputs > 1:
            return with_best_intercept(problem, *split(blocks.reshape(-1, blocks.shape[-1]), problem.outputs))
        return with_best_intercept(problem, blocks.reshape(-1, problem.d), np.repeat(program.sides, blocks.shape[1]))
    if outputs > 1:
        U, alpha = neurons.balanced(*split(blocks.reshape(-1, blocks.shape[-1]), outputs))
        keep = U.any(axis=1)
        return from_weights(U[keep], alpha[keep]) if keep.any() else from_weights(U[:1], alpha[:1])
    norms = np.linalg.norm(blocks, axis=-1)
    side, i = np.nonzero(norms > 0)
    if len(i) == 0:
        return from_weights(np.zeros((1, blocks.shape[-1])), np.zeros(1))
    root = np.sqrt(norms[side, i])
    return from_weights(blocks[side, i] / root[:, None], np.where(side == 0, root, -root))


def with_best_intercept(
    problem: Problem, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."]
) -> TwoLayerReLU:
    """The balanced network of these neurons with the best intercept, where the problem has one.

    Neurons without decayed weights are constants, and part of it.
    """
    alive = problem.strength(U, alpha) > 0
    U, alpha = problem.balanced(U[alive], alpha[alive])
    c = problem.best_intercept(problem.predict(U, alpha))
    U, alpha, c = problem.with_intercept(U, alpha, c)
    if not len(U):
        U, alpha = np.zeros((1, problem.d)), np.zeros((1, *problem.targets.shape[1:]))
    return from_weights(U, alpha, c if problem.biases.intercept else None)


def active_patterns(
    X: Float[np.ndarray, "n d"], U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."], tolerance: float = 0.0
) -> PatternSet:
    """S(θ): the distinct patterns of the neurons with ‖u_j‖|α_j| > tolerance · the largest; their u_j as gates."""
    return PatternSet.from_gates(X, U[neurons.active(U, alpha, tolerance)].T)


def blocks_from_network(
    program: ConvexProgram, U: Float[np.ndarray, "m d"], alpha: Float[np.ndarray, "m ..."]
) -> Float[np.ndarray, "k P e"]:
    """The program's blocks of a network: v = Σ|α_j|u_j over the neurons of one pattern with α_j > 0, w with α_j < 0.

    With C > 1 outputs the neurons of a pattern fill its slots, as many as the pattern with most of them needs, and the
    value is L_bal. Neurons of one pattern and sign add up inside their cone, so the value is at most L_bal.

    Raises
    ------
    ConfigError : a contributing neuron whose pattern the program lacks (its blocks would be another function), or a
        program without cones. DataError : a network of another input dimension, or weights that are not finite.
    """
    if not program.has_cones:
        raise ConfigError(
            f"Blocks of a {program.name} program are no neurons.", "Use a relaxed program over the same patterns."
        )
    U, alpha = np.asarray(U, dtype=np.float64), np.asarray(alpha, dtype=np.float64)
    if U.ndim != 2 or U.shape[1] != program.problem.d or alpha.shape != U.shape[:1] + program.y.shape[1:]:
        raise DataError(
            f"A network with U {U.shape} and α {alpha.shape}; the program's data have {program.problem.d} columns.",
            "Give U (m, d) and α (m,), or (m, C) of C outputs, of a network for these data.",
        )
    if not (np.isfinite(U).all() and np.isfinite(alpha).all()):
        raise DataError("The network has weights that are NaN or infinite.", "Train with a smaller step size.")
    alive = (np.linalg.norm(U, axis=1) > 0) & (neurons.sizes(alpha) != 0)
    U, alpha = U[alive], alpha[alive]
    own = np.packbits(activation_patterns(program.X, U.T).T, axis=1)
    position = program.patterns.positions_of(PatternSet(own, len(program.X)))
    if (position < 0).any():
        raise ConfigError(
            f"{int((position < 0).sum())} neurons have patterns that are not in the program's set.",
            "Add their patterns: program.with_patterns(program.patterns.union(active_patterns(X, U, alpha))).",
        )
    if program.problem.outputs > 1:
        return in_slots(program, U, alpha, position)
    blocks = program.zero_blocks()
    np.add.at(blocks, ((alpha < 0).astype(int), position), np.abs(alpha)[:, None] * U)
    return blocks


def in_slots(
    program: ConvexProgram,
    U: Float[np.ndarray, "m d"],
    alpha: Float[np.ndarray, "m C"],
    position: Int[np.ndarray, " m"],
) -> Float[np.ndarray, "k P e"]:
    """Blocks (k, P, d + C) of neurons with the patterns at ``position``: each in the next free slot of its pattern."""
    order = np.argsort(position, kind="stable")
    counts = np.bincount(position, minlength=len(program.patterns))
    slot = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
    blocks = np.zeros((max(1, int(counts.max(initial=0))), *program.shape[1:]))
    blocks[slot, position[order]] = np.hstack([U, alpha])[order]
    return blocks
