"""`python -m reluopt` is the `reluopt` command."""

from reluopt.cli.main import run

run()
