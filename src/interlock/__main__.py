"""Run the command line as ``python -m interlock``."""

import sys

from interlock.scenarios.cli import main

if __name__ == "__main__":
    sys.exit(main())
