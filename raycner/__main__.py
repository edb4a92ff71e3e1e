# PYTHON_ARGCOMPLETE_OK
"""`python -m raycner`: the command line."""

import sys

from raycner.cli import main

if __name__ == "__main__":
    sys.exit(main())
