"""``python -m bitslice``."""

import sys

from bitslice.cli import main

sys.exit(main())
