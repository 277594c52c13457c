"""Run the command line as ``python -m interlock``."""

from interlock.scenarios.cli import main

if __name__ == "__main__":
    main()
