"""Arrays as people have them: kinds that are taken, and kinds that are refused with the words that name the cause."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from torch.masked import masked_tensor


class OnlyToNumpy:
    """Says how it becomes numpy, as tables do."""

    def __init__(self, X: np.ndarray) -> None:
        self.X = X

    def to_numpy(self) -> np.ndarray:
        return self.X


class OnlyArray(OnlyToNumpy):
    """Says it by numpy's protocol alone."""

    to_numpy = None  # type: ignore[assignment]

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.X


#: Kinds that hold the same small whole numbers, of X (n, d).
TAKEN = {
    "half": lambda X: torch.tensor(X).bfloat16(),
    "eighth": lambda X: torch.tensor(X).to(torch.float8_e5m2),
    "requires grad": lambda X: torch.tensor(X, requires_grad=True),
    "negative bit": lambda X: torch.tensor(-1j * X).conj().imag,
    "quantized": lambda X: torch.quantize_per_tensor(torch.tensor(X).float(), 1.0, 0, torch.qint8),
    "mkldnn": lambda X: torch.tensor(X).float().to_mkldnn(),
    "masked tensor, whole": lambda X: masked_tensor(torch.tensor(X), torch.ones(X.shape, dtype=torch.bool)),
    "list of tensors": lambda X: [torch.tensor(row, requires_grad=True) for row in X],
    "masked, whole": lambda X: np.ma.array(X, mask=False),
    "decimals": lambda X: [[Decimal(int(x)) for x in row] for row in X],
    "nullable": lambda X: pd.DataFrame(X).astype("Int64"),
    "only to_numpy": OnlyToNumpy,
    "only __array__": OnlyArray,
}

#: Kinds that are not what they seem, and the cause that the message names.
REFUSED = {
    "COO": (lambda X: torch.tensor(X).to_sparse(), "sparse.*to_dense"),
    "CSR": (lambda X: torch.tensor(X).to_sparse_csr(), "sparse.*to_dense"),
    "scipy": (scipy.sparse.csr_array, "sparse.*toarray"),
    "meta": (lambda X: torch.empty(X.shape, device="meta"), "meta"),
    "nested": (lambda X: torch.nested.nested_tensor([torch.tensor(row) for row in X]), "nested.*torch.stack"),
    "complex": (lambda X: X + 1j, "complex"),
    "complex tensor": (lambda X: torch.tensor(X + 1j), "complex"),
    "conjugate": (lambda X: torch.tensor(X + 1j).conj(), "complex"),
    "complex objects": (lambda X: (X + 1j).astype(object), "complex"),
    "masked complex": (lambda X: np.ma.array(X + 1j, mask=X > 1), "complex"),
    "masked": (lambda X: np.ma.array(X, mask=X > 1), "missing"),
    "masked rows": (lambda X: [np.ma.array(row, mask=row > 1) for row in X], "missing"),
    "masked tensor": (lambda X: masked_tensor(torch.tensor(X), torch.tensor(X <= 1)), "missing"),
    "NA": (lambda X: pd.DataFrame(X).astype("Int64").mask(X > 1), "missing"),
    "None": (lambda X: np.where(X > 1, None, X), "missing"),
    "text": (lambda X: X.astype(str), "text.*dtype=float"),
    "a text among numbers": (lambda X: [["a", *row[1:]] for row in X.tolist()], "'a', not a number"),
    "texts of any length": (lambda X: X.astype(np.dtypes.StringDType()), "text"),
    "huge": (lambda X: [[10**400, *row[1:]] for row in X.tolist()], "too large"),
    "huge fraction": (lambda X: [[Fraction(10**400), *row[1:]] for row in X.tolist()], "too large"),
    "ragged": (lambda X: [*X.tolist()[1:], [1.0]], "rows of 1 to"),
    "dates": (lambda X: np.full(X.shape, "2020-01-01", dtype="datetime64[D]"), "type datetime64"),
    "a mapping": (lambda X: {"X": X}, "a dict"),
    "nothing": (lambda X: None, "no X"),
    "large whole numbers": (lambda X: 2**60 + np.arange(X.size).reshape(X.shape), "not tell apart"),
    "larger whole numbers": (lambda X: 10**20 + np.arange(X.size).reshape(X.shape).astype(object), "not tell apart"),
}
