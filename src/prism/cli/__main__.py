"""`python -m prism.cli` is `prism`."""

import os
import sys

# `python -m` puts the working directory first: a file of a library's name there would run.
if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109  (imports nothing)
    del sys.path[0]

from prism.cli import main

main()
