"""L of KP eq. (1) for the squared loss, written once more for tests: numpy arrays or torch tensors alike."""

from __future__ import annotations


def relu(h):
    return h * (h > 0)


def predict(X, U, alpha):
    """f = Σ_j (X u_j)_+ α_j."""
    return relu(X @ U.T) @ alpha


def squared_loss(f, y):
    """½‖f − y‖²."""
    return 0.5 * ((f - y) ** 2).sum()


def objective(X, y, U, alpha, beta):
    """L = ½‖f − y‖² + (β/2) Σ_j (‖u_j‖² + α_j²)."""
    return squared_loss(predict(X, U, alpha), y) + 0.5 * beta * ((U * U).sum() + (alpha * alpha).sum())


def balanced_objective(X, y, U, alpha, beta):
    """½‖f − y‖² + β Σ_j ‖u_j‖|α_j|."""
    return squared_loss(predict(X, U, alpha), y) + beta * ((U * U).sum(-1) ** 0.5 * abs(alpha)).sum()


def gradient(X, y, U, alpha, beta):
    """∇L with ReLU'(0) = 0."""
    H = X @ U.T
    active = H > 0
    r = (H * active) @ alpha - y
    return alpha[:, None] * ((active * r[:, None]).T @ X) + beta * U, (H * active).T @ r + beta * alpha
