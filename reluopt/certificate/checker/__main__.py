"""``python -m reluopt.certificate.checker``."""

import sys

from .command import main

sys.exit(main())
