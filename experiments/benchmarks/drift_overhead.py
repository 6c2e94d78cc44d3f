"""What a record (objective, residual, drift) at every epoch costs, against an epoch without one.

    python experiments/benchmarks/drift_overhead.py --json
    python experiments/benchmarks/drift_overhead.py --n 1000 --d 50 --m 64

One trainer records every second full-batch epoch, so that epochs with and without a record alternate and whatever
else the machine does meets both. The cost is the median of the differences between neighbours, relative to the median
epoch without a record. Target: at most 5 %. A busy machine disturbs it: then look at the quickest epoch
of each kind, or at the processor time, with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import os
import time

import numpy as np
import torch

from reluopt.training import Callback, TrainConfig, Trainer


class Clock(Callback):
    """The moments at which epochs begin; between two lie one record (if any) and one step."""

    def __init__(self) -> None:
        self.moments: list[tuple[float, float]] = []

    def on_epoch(self, state) -> None:
        self.moments.append((time.perf_counter(), time.process_time()))


def measure(n: int, d: int, m: int, dtype: str, pairs: int) -> dict[str, float | str]:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    warm = 2
    config = TrainConfig(width=m, epochs=2 * (pairs + warm), dtype=dtype, record_every=2, schedule="constant")
    clock = Clock()
    Trainer(config.make_network(d), X, y, 1.0, config, callbacks=[clock], progress=False).fit()
    wall, cpu = np.diff(clock.moments, axis=0)[2 * warm :].reshape(-1, 2, 2).transpose(2, 0, 1)  # each (pairs, 2)
    epoch, cost = np.median(wall[:, 1]), np.median(wall[:, 0] - wall[:, 1])
    return {
        "dtype": dtype,
        "epoch_ms": 1e3 * epoch,
        "record_ms": 1e3 * cost,
        "overhead": cost / epoch,
        "overhead_quickest": float((wall[:, 0].min() - wall[:, 1].min()) / wall[:, 1].min()),
        "overhead_cpu_time": float(np.median(cpu[:, 0] - cpu[:, 1]) / np.median(cpu[:, 1])),
        **floor(n, d, m, dtype, epoch),
    }


def floor(n: int, d: int, m: int, dtype: str, epoch: float) -> dict[str, float]:
    """What no recorder can go below: the preactivations must be read once. And what an epoch computes meanwhile."""
    H = torch.ones(n, m, dtype=getattr(torch, dtype))
    times = []
    for _ in range(9):
        start = time.perf_counter()
        H.sum()
        times.append(time.perf_counter() - start)
    return {
        "preactivation_megabytes": 1e-6 * H.nbytes,
        "reading_them_once_ms": 1e3 * float(np.median(times)),
        "epoch_gigaflop": 4e-9 * n * d * m,  # X Uᵀ, and the gradient's product with X: 2 n d m each
        "epoch_gigaflop_per_s": 4e-9 * n * d * m / epoch,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, text in (("n", 10_000, "samples"), ("d", 784, "features"), ("m", 512, "neurons")):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} (default {default})")
    parser.add_argument("--pairs", type=int, default=25, help="pairs of epochs (default 25)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    result = {
        **{k: getattr(args, k) for k in ("n", "d", "m", "pairs")},
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "results": [measure(args.n, args.d, args.m, dtype, args.pairs) for dtype in ("float32", "float64")],
    }
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print(f"n={args.n} d={args.d} m={args.m}, {result['threads']} threads, load {result['load']:.1f}")
    for r in result["results"]:
        print(
            f"{r['dtype']}: a record costs {r['record_ms']:.2f} ms of an epoch's {r['epoch_ms']:.1f} ms = "
            f"{100 * r['overhead']:.1f} % "
            f"(of processor time {100 * r['overhead_cpu_time']:.1f} %, of the quickest epochs "
            f"{100 * r['overhead_quickest']:.1f} %)\n"
            f"  floor: reading {r['preactivation_megabytes']:.0f} MB of preactivations once takes "
            f"{r['reading_them_once_ms']:.2f} ms; the epoch computes {r['epoch_gigaflop']:.1f} GFLOP "
            f"at {r['epoch_gigaflop_per_s']:.0f} GFLOP/s"
        )


if __name__ == "__main__":
    main()
