"""`python -m prism.bootstrap` is `prism serve`."""

import sys

from prism.bootstrap.cli import main

sys.argv[1:1] = ["serve"]
main()
