"""`python -m prism.bootstrap` is `prism serve`, as in `python -m prism.bootstrap --driver redis`.

The one module of this package that imports `prism.cli`.
"""

import sys

from prism.cli import main

sys.argv[1:1] = ["serve"]
main()
