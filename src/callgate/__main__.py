"""`python -m callgate` is the `callgate` program."""

import sys

from callgate.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
