"""What does ``python -m edge`` do?  The same as the command ``edge``."""

from __future__ import annotations

import sys

from edge.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
