"""`python -m sqzx` is the command `sqzx`."""

from sqzx.cli import main

main()
