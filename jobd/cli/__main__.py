"""C{python -m jobd.cli} is C{jobctl}."""

import sys

from jobd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
