"""The user's own models and losses, as they are, brought to the training problem of this package."""

from reluopt.integrations.modules import CertifiedModule, certify_module

__all__ = ["CertifiedModule", "certify_module"]
