"""`python -m prism.cli` is `prism`."""

from prism.cli import main

main()
