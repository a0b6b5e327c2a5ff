"""`python -m textmill` is the command `textmill`."""

import sys

from textmill.cli import main

sys.exit(main())
