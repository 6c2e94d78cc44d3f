"""Train two-layer ReLU networks, watch their activation patterns drift, prove how far they are from the optimum.

The public names, flat; ``__init__.pyi`` lists them. They are imported when first used, so that
``reluopt.certificate.checker`` and the command's ``--version`` do not load torch.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
