"""`python -m nnopt` is `nnopt`."""

from nnopt.cli.main import run

run()
