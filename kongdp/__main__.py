"""`python -m kongdp`: the same as the `kongdp` command."""

import sys

from kongdp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
