"""How often a test tries: a few times in ``make test``, as often as its docstring says in ``make thorough``."""

import os

THOROUGH = "RELUOPT_THOROUGH"


def tries(few: int, many: int) -> int:
    """``many`` where the environment asks for it, else ``few``."""
    return many if os.environ.get(THOROUGH) else few
