"""`python -m prism.bootstrap.cli` is `prism`."""

from prism.bootstrap.cli import main

main()
