"""What stands beside the estimates: is there a neuron that lowers L, and what the theorems of the paper say."""

from __future__ import annotations

import math
import sys

import numpy as np

from reluopt.beta_max import beta_max_estimate, largest_price
from reluopt.certificate.case import Case
from reluopt.certificate.estimates import Pricing, TheoryFacts
from reluopt.theory.kernel import kappa as theory_kappa
from reluopt.theory.kernel import log_factor

#: κ needs all eigenvalues of an n×n matrix; above this many samples it is left out, and the certificate says so.
KAPPA_SAMPLES = 3000


def pricing_of(case: Case) -> Pricing:
    """Is there a neuron whose addition lowers L? A price above β shows one; finding none proves nothing.

    At the kinks of a loss z is one subgradient of many, and its price shows nothing: NaN.
    """
    rng, found = np.random.default_rng(case.config.seed), math.nan
    if case.problem.loss.smooth:
        found = largest_price(case.problem, case.z, rng, case.clock)
    if case.problem.biases:
        largest = beta_max_estimate(case.problem, seed=case.config.seed, clock=case.clock)
    else:
        largest = largest_price(case.problem, case.problem.zero_dual_point, rng, case.clock)
    beta = case.problem.beta
    # a finite number also at the smallest β: certificate.json has no infinity, and the verdict names what stands there
    price = min(float(found) / beta, sys.float_info.max)
    return Pricing(price, beta / largest if largest > 0 else math.inf)


def theory_of(case: Case) -> TheoryFacts:
    """κ of the data (for n that allow it), and the factors that follow from it and from n."""
    problem, n = case.problem, case.problem.n
    if problem.pooling is not None:
        return TheoryFacts(math.nan, math.nan, log_factor(n))
    if n > KAPPA_SAMPLES:
        case.notes.append(f"κ was left out: n = {n} exceeds {KAPPA_SAMPLES} (it needs an n×n eigenvalue problem).")
        kappa = math.nan
    else:
        kappa = theory_kappa(problem.X)
    speaks = problem.loss.name == "squared" and not (problem.is_weighted or problem.biases)
    return TheoryFacts(kappa, 2 * math.sqrt(2) * math.sqrt(kappa) if speaks else math.nan, log_factor(n))
