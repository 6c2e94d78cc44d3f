"""Drift: how far the activation patterns have moved since initialisation (KP (A2), Lemma 2.4, Fig. 2).

The patterns are kept bit-packed, sample after sample: (n, m/8) bytes, so that comparing two states of 10,000 samples
and 512 neurons touches 0.6 MB. A recorder needs the preactivations X Uᵀ; a training loop that has them already pays
for one pass over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from reluopt import neurons
from reluopt.errors import DataError
from reluopt.gate import as_matrix
from reluopt.neurons import ACTIVE_TOLERANCE
from reluopt.patterns.bits import ROWS_AT_A_TIME, any_row, distinct_columns, pack_rows
from reluopt.patterns.pattern_set import KINK_TOLERANCE, activation_patterns

#: Entries of H from which on the pass uses as many threads as torch (numpy lets them run side by side).
PARALLEL_ABOVE = 1_000_000


@dataclass(frozen=True)
class Drift:
    """What the patterns did up to one moment. "Initial" and "previous" are the recorder's first and last moments.

    Attributes
    ----------
    preserved_from_init, preserved_from_previous : fraction of the m neurons whose whole pattern is unchanged (A2).
    entries_preserved, entries_preserved_previous : fraction of the n·m (sample, neuron) entries that are unchanged.
    worst_sample_preserved : the smallest fraction, over samples, of neurons unchanged since the start (Lemma 2.4).
    distinct : number of distinct patterns among the m neurons.
    active_neurons : neurons with ‖u_j‖|α_j| > 1e-6 of the largest (‖u_j‖ alone where α is not given).
    kinks : entries with |x_iᵀu_j| ≤ 1e-6 ‖x_i‖‖u_j‖, u_j ≠ 0.
    births, deaths : neurons that became active, or ceased to be, since the previous moment.
    """

    preserved_from_init: float
    preserved_from_previous: float
    entries_preserved: float
    entries_preserved_previous: float
    worst_sample_preserved: float
    distinct: int
    active_neurons: int
    kinks: int
    births: int
    deaths: int

    def scalars(self) -> dict[str, float]:
        """The fields under their TensorBoard tags, ``patterns/...``."""
        return {f"patterns/{name}": value for name, value in asdict(self).items()}


class DriftRecorder:
    """Follows the patterns of one hidden layer on fixed samples ``X`` (n, d).

    In any training loop, with a layer of any model (its bias counts as a weight of a ones column)::

        recorder = DriftRecorder(X)
        for epoch in range(epochs):
            ...
            drift = recorder(model[0])          # an nn.Linear that sees X, or a weight tensor U (m, d)
    """

    def __init__(self, X: Any) -> None:
        X = X if _is_plain(X) else torch.from_numpy(as_matrix(X))
        if X.ndim != 2 or min(X.shape) < 1:
            raise DataError(f"Samples of shape {tuple(X.shape)}.", "Give X as a matrix (n, d), one row a sample.")
        self.X = X.detach()
        self._squared_norms = self.X.square().sum(1).cpu().numpy()
        self._m = 0
        self._initial: UInt8[np.ndarray, "N bytes"] | None = None
        self._current: UInt8[np.ndarray, "N bytes"] | None = None
        self._active: Bool[np.ndarray, " m"] | None = None
        #: The drift at the last moment, None before the first.
        self.last: Drift | None = None

    def attach(self, model: nn.Module) -> RemovableHandle:
        """Record whenever the model's first linear layer sees all of X, in any loop; ``handle.remove()`` ends it.

        The preactivations of that forward pass are used, so recording costs no other; passes over mini-batches are let
        go. ``last`` holds the drift. Also within ``torch.autocast``.

        Raises
        ------
        DataError : a model without a linear layer that takes X.
        """
        layers = (module for module in model.modules() if isinstance(module, nn.Linear))
        first = next((layer for layer in layers if layer.in_features == self.X.shape[1]), None)
        if first is None:
            raise DataError(
                f"The model has no linear layer of {self.X.shape[1]} inputs.", "Give X as that layer sees it."
            )

        def hook(layer: nn.Linear, inputs: tuple[Any, ...], output: Tensor) -> None:
            seen = inputs[0].detach()
            if seen.shape == self.X.shape and (seen is self.X or bool(torch.equal(seen, self.X.to(seen)))):
                bias = layer.bias
                U = layer.weight if bias is None else torch.cat([layer.weight, bias[:, None]], dim=1)
                self.update(output.detach().to(layer.weight.dtype), U)

        return first.register_forward_hook(hook)

    def log_to(self, writer: Any, step: int) -> None:
        """Write the last drift to a TensorBoard ``SummaryWriter`` (or what has ``add_scalar``), as ``patterns/...``."""
        for tag, value in self.last.scalars().items() if self.last is not None else ():
            writer.add_scalar(tag, value, step)

    @torch.no_grad()
    def __call__(self, layer: nn.Linear | Tensor, outer: Tensor | None = None) -> Drift:
        """Record the layer as it is now; its preactivations are computed. ``outer`` (m,) or (m, C) are the α_j."""
        if isinstance(layer, nn.Linear):
            bias = layer.bias
            U = layer.weight if bias is None else torch.cat([layer.weight, bias[:, None]], dim=1)
            return self.update(layer(self.X), U, outer)
        return self.update(self.X @ layer.T, layer, outer)

    def update(self, preactivations: Tensor, U: Tensor, outer: Tensor | None = None) -> Drift:
        """Record the moment with ``preactivations`` X Uᵀ (n, m), weights ``U`` (m, d or d+1), ``outer`` (m) the α_j.

        Raises
        ------
        DataError : shapes that do not fit the samples, or the moments before.
        """
        self._check(preactivations, U)
        H = preactivations.detach().cpu().numpy()
        sizes = U.detach().norm(dim=1)
        bits, kinks = self._pack(H, sizes.cpu().numpy(), U.shape[1] > self.X.shape[1])
        contribution = sizes if outer is None else sizes * neurons.sizes(outer.detach())
        active = (contribution > ACTIVE_TOLERANCE * contribution.max()).cpu().numpy()
        if self._initial is None or self._current is None or self._active is None:
            self._initial, self._current, self._active = bits, bits, active
        drift = self._compare(bits, active, kinks)
        self._current, self._active, self.last = bits, active, drift
        return drift

    def kept(self) -> Bool[np.ndarray, " m"]:
        """Neurons whose whole pattern is now what it was at the start: they make S_kept of KP Thm 2.5."""
        initial, current = self._moments()
        return ~any_row(initial ^ current, self._m)

    def flipped(self) -> Bool[np.ndarray, "n m"]:
        """Entries (sample, neuron) that differ from the start."""
        initial, current = self._moments()
        return np.unpackbits((initial ^ current)[: len(self.X)], axis=1, count=self._m).astype(bool)

    def state(self) -> dict[str, np.ndarray]:
        """What a later recorder needs to go on from here; empty before the first moment."""
        if self._initial is None or self._current is None or self._active is None:
            return {}
        return {"initial": self._initial, "current": self._current, "active": self._active}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a :meth:`state`."""
        if state:
            self._initial, self._current, self._active = (state[k].copy() for k in ("initial", "current", "active"))
            self._m = len(self._active)

    # -- inside --------------------------------------------------------------------------------------------------

    def _check(self, H: Tensor, U: Tensor) -> None:
        n, m = len(self.X), U.shape[0]
        if H.shape != (n, m) or m < 1:
            raise DataError(
                f"Preactivations of shape {tuple(H.shape)} for {n} samples and {m} neurons.",
                "Give X Uᵀ of the recorder's own samples, shape (n, m).",
            )
        if self._initial is not None and m != self._m:
            raise DataError(
                f"{m} neurons, but the recorder started with {self._m}.", "Use a new recorder for another network."
            )
        self._m = m

    def _moments(self) -> tuple[UInt8[np.ndarray, "N bytes"], UInt8[np.ndarray, "N bytes"]]:
        if self._initial is None or self._current is None:
            raise DataError("The recorder has seen no moment yet.", "Call it on the layer first.")
        return self._initial, self._current

    def _pack(
        self, H: Float[np.ndarray, "n m"], sizes: Float[np.ndarray, " m"], bias: bool
    ) -> tuple[UInt8[np.ndarray, "N bytes"], int]:
        """The packed patterns, padded to whole 8 samples and 64 neurons, and the number of kinks.

        In blocks, so that H is read from memory once. Entries beyond ±tol·max_k‖x_k‖·‖u_j‖ are no kinks, and
        their pattern is settled; the few in between are looked at one by one.
        """
        n, m = H.shape
        norms = np.sqrt(self._squared_norms + bias).astype(H.dtype)
        limits = (KINK_TOLERANCE * norms.max() * sizes).astype(H.dtype)
        # a zero neuron is active everywhere (a tie) and has no kinks: its entries lie above -1
        upper, lower = np.where(sizes > 0, limits, -1), np.where(sizes > 0, -limits, -1)
        if 0 < sizes.max() <= 100 * sizes.min():  # one number compares faster, and lets few more entries in between
            upper, lower = upper.max(keepdims=True), lower.min(keepdims=True)
        bits = np.zeros((-(-n // 8) * 8, -(-m // 64) * 8), np.uint8)
        threads = torch.get_num_threads() if H.size > PARALLEL_ABOVE else 1
        step = -(-n // (threads * ROWS_AT_A_TIME)) * ROWS_AT_A_TIME
        parts = [slice(start, start + step) for start in range(0, n, step)]
        with ThreadPoolExecutor(threads) as pool:  # starts no thread before it is used
            found = list((pool.map if threads > 1 else map)(lambda s: pack_rows(H[s], upper, lower, bits[s]), parts))
        i = np.concatenate([rows + part.start for (rows, _), part in zip(found, parts, strict=True)])
        j = np.concatenate([columns for _, columns in found])
        h = H[i, j]
        on = h >= 0
        np.bitwise_or.at(bits, (i[on], j[on] // 8), (128 >> (j[on] % 8)).astype(np.uint8))
        return bits, int(np.count_nonzero(np.abs(h) <= KINK_TOLERANCE * norms[i] * sizes[j]))

    def _compare(self, bits: UInt8[np.ndarray, "N bytes"], active: Bool[np.ndarray, " m"], kinks: int) -> Drift:
        assert self._initial is not None and self._current is not None and self._active is not None
        n, m = len(self.X), self._m
        since_start, since_previous = bits ^ self._initial, bits ^ self._current
        flips = np.bitwise_count(since_start.view(np.uint64)).sum(axis=1, dtype=np.int64)
        flips_previous = int(np.bitwise_count(since_previous.view(np.uint64)).sum(dtype=np.int64))
        return Drift(
            preserved_from_init=1.0 - float(np.count_nonzero(any_row(since_start, m))) / m,
            preserved_from_previous=1.0 - float(np.count_nonzero(any_row(since_previous, m))) / m,
            entries_preserved=1.0 - int(flips.sum()) / (n * m),
            entries_preserved_previous=1.0 - flips_previous / (n * m),
            worst_sample_preserved=1.0 - int(flips.max()) / m,
            distinct=distinct_columns(bits, m),
            active_neurons=int(np.count_nonzero(active)),
            kinks=kinks,
            births=int(np.count_nonzero(active & ~self._active)),
            deaths=int(np.count_nonzero(self._active & ~active)),
        )


def unchanged_neurons(
    X: Float[np.ndarray, "n d"], initial: Float[np.ndarray, "m d"], final: Float[np.ndarray, "m d"]
) -> Bool[np.ndarray, " m"]:
    """Neurons with the same pattern under weights ``initial`` and ``final``: S_kept of KP Thm 2.5."""
    return (activation_patterns(X, initial.T) == activation_patterns(X, final.T)).all(axis=0)


def _is_plain(X: Any) -> bool:
    """Whether X is a tensor that can be worked with as it is, on its device and in its type."""
    dense = isinstance(X, Tensor) and X.layout == torch.strided and not (X.is_nested or X.is_meta)
    return dense and X.is_floating_point()
