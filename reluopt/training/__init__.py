"""Going down by gradient. Knows nothing convex. The names of ``__init__.pyi`` load when used."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
