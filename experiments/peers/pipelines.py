"""The pipelines from data to a network, each a function of a :class:`Question`, in a process of its own.

The convex solvers of others are the calls of ``experiments/benchmarks`` (``benchmark_utils.peers``); pyscnn is called
here with its defaults instead, because the benchmark turns its stopping rule off and gives iterations.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import reluopt
from reluopt.bounds import tightened
from reluopt.certificate.certificate import best_lower_bound
from reluopt.clock import Clock
from reluopt.patterns.sampling import discover_patterns
from reluopt.threads import one_thread_if_small

EXPERIMENTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(EXPERIMENTS / "benchmarks" / "convex_relu"))

from benchmark_utils import peers  # noqa: E402


@dataclass(frozen=True)
class Question:
    """Train a two-layer ReLU network on a problem; ``settings`` of the study's point."""

    problem: reluopt.Problem
    settings: dict[str, Any]

    def program(self) -> reluopt.RelaxedProgram:
        """Over P Gaussian patterns: the same ones for every tool."""
        rng = np.random.default_rng(self.settings["seed"])
        found = discover_patterns(self.problem.X, self.settings["patterns"], rng)
        return reluopt.RelaxedProgram(self.problem, found.patterns)


@dataclass(frozen=True)
class Answer:
    """A network, if there is one, and a proved lower bound on p*, if the tool gives one."""

    network: reluopt.TwoLayerReLU | None = None
    bound: float | None = None


def train(question: Question) -> Answer:
    """reluopt: train with the defaults, then certify."""
    s = question.settings
    config = reluopt.TrainConfig(beta=question.problem.beta, width=s["width"], epochs=s["epochs"], seed=s["seed"])
    network = config.make_network(question.problem.d)
    reluopt.Trainer(network, question.problem, config=config, progress=False).fit()
    certify = reluopt.CertifyConfig(effort=s["effort"])
    certificate = reluopt.certify(network, question.problem, config=certify)
    bound = best_lower_bound(certificate.estimates)
    return Answer(network, None if bound is None else bound.value)


def adam(question: Question) -> Answer:
    """Torch as it comes: default initialisation, float32, Adam with its default step 1e-3 and coupled weight decay."""
    s = question.settings
    torch.manual_seed(s["seed"])
    X = torch.tensor(question.problem.X, dtype=torch.float32)
    y = torch.tensor(question.problem.y, dtype=torch.float32)
    model = nn.Sequential(
        nn.Linear(X.shape[1], s["width"], bias=False), nn.ReLU(), nn.Linear(s["width"], 1, bias=False)
    )
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=question.problem.beta)
    for _ in range(s["epochs"]):
        optimizer.zero_grad()
        (0.5 * ((model(X)[:, 0] - y) ** 2).sum()).backward()
        optimizer.step()
    return Answer(reluopt.from_sequential(model))


def native(question: Question) -> Answer:
    """The relaxed program by this project's solver, to a proved relative gap of 1e-6."""
    return Answer(reluopt.network_from_blocks(peers.native(question.program(), 1e-6)))


def clarabel(question: Question) -> Answer:
    """The relaxed program as one would write it in CVXPY, by Clarabel with its default tolerance 1e-8."""
    return Answer(reluopt.network_from_blocks(peers.clarabel(question.program(), 1e-8)))


def scs(question: Question) -> Answer:
    """The same statement by SCS with its default tolerance 1e-4."""
    return Answer(reluopt.network_from_blocks(peers.scs(question.program(), 1e-4)))


def adelie(question: Question) -> Answer:
    """The relaxed program by adelie with its default tolerance 1e-7, cones as linear constraints."""
    return Answer(reluopt.network_from_blocks(peers.adelie(question.program(), 1e-7)))


def pyscnn(question: Question) -> Answer:
    """pyscnn's augmented Lagrangian with its defaults (float32) and its own network; its loss has 1/n, so λ = β/n."""
    from scnn.metrics import Metrics
    from scnn.models import ConvexReLU
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import AL

    program = question.program()
    model = ConvexReLU(program.patterns.gates)
    network, _ = optimize_model(
        model, AL(model), Metrics(), question.problem.X, question.problem.y[:, None],
        regularizer=NeuronGL1(question.problem.beta / question.problem.n), unitize_data=False, device="cpu",
    )  # fmt: skip
    U, alpha = (np.asarray(p, dtype=np.float64) for p in network.parameters[:2])
    return Answer(reluopt.from_weights(U, alpha.ravel()))


def refined(question: Question) -> Answer:
    """reluopt: the relaxation over the same patterns, mapped and pruned, then column generation from there."""
    s = question.settings
    rng = np.random.default_rng(s["seed"])
    start = reluopt.relax(question.problem, patterns=s["patterns"], rng=rng).network
    found = reluopt.refine(question.problem, start, clock=Clock(s["refine_seconds"]), tolerance=1e-4, seed=s["seed"])
    return Answer(found.network)


def bound(question: Question) -> Answer:
    """reluopt: the lower bound alone, with more time than a certificate takes."""
    found = tightened(question.problem, time_limit=question.settings["bound_seconds"])
    return Answer(bound=found.value)


PIPELINES: dict[str, Callable[[Question], Answer]] = {
    "train": train,
    "adam": adam,
    "native": native,
    "clarabel": clarabel,
    "scs": scs,
    "pyscnn": pyscnn,
    "adelie": adelie,
    "refine": refined,
    "bound": bound,
}
#: What is not this project's is stopped at the limit; ours take times of their own.
LIMITED = ("clarabel", "scs", "pyscnn", "adelie")
#: Imported once, in the process from which all others are forked.
SLOW_IMPORTS = ["cvxpy", *(f"reluopt.{room}" for room in ("certificate.certifying", "search.polynomial"))]


def missing(tool: str) -> list[str]:
    """Packages that a tool needs and that are not installed."""
    return peers.missing(tool) if tool in peers.NEEDS else []


def in_a_process(tool: str, question: Question) -> dict[str, Any]:
    """Objective, bound, wall and processor seconds of a pipeline; without an objective if it was stopped.

    Raises
    ------
    RuntimeError : what the tool itself raised.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(SLOW_IMPORTS)
    here, there = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(there, tool, question))
    worker.start()
    there.close()
    try:
        answer = here.recv()
    except EOFError:  # stopped at its limit of processor time, or for memory
        answer = {"stopped": True}
    worker.join()
    if isinstance(answer, str):
        raise RuntimeError(f"{tool}: {answer}")
    return answer


def _work(pipe: Any, tool: str, question: Question) -> None:
    with one_thread_if_small(0.0):
        try:
            pipe.send(_timed(tool, question))
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}")


def _timed(tool: str, question: Question) -> dict[str, Any]:
    """Imports and compilation are not counted: a tiny problem of the same kind goes first."""
    tiny = reluopt.planted(12, 3)
    small = {"patterns": 4, "width": 4, "epochs": 2, "effort": "fast", "refine_seconds": 0.1, "bound_seconds": 0.1}
    PIPELINES[tool](Question(reluopt.Problem(tiny.X, tiny.y, beta=1.0), question.settings | small))
    if tool in LIMITED:
        limit = int(np.ceil(time.process_time() + question.settings["limit"]))
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    wall, processor = time.perf_counter(), time.process_time()
    answer = PIPELINES[tool](question)
    seconds = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    value = None
    if answer.network is not None:
        value = question.problem.objective(*answer.network.weights())
    return {"objective": value, "bound": answer.bound, **seconds, "stopped": False}
