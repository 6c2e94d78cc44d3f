"""Sample weights that give all classes the same total weight."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from reluopt.errors import ConfigError
from reluopt.losses.protocol import is_one_hot


def balanced_weights(targets: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, " n"]:
    """κ_i = n/(K n_c), n_c the number of samples of the class of i, K of classes that occur; scikit-learn's "balanced".

    ``targets`` : −1 and +1 (n,), or unit rows (n, C).

    Raises
    ------
    ConfigError : samples that have several labels, one class only.
    """
    several = targets.ndim == 2
    if several and not is_one_hot(targets):
        raise ConfigError("There are no classes to balance.", "Leave the class weights out.")
    of = targets.argmax(axis=1) if several else (targets > 0).astype(np.int64)
    sizes = np.bincount(of)
    present = int((sizes > 0).sum())
    if present < 2:
        raise ConfigError("There are no two classes to balance.", "Leave the class weights out.")
    return len(targets) / (float(present) * sizes[of])
