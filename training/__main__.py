"""`python -m mmre.training CONFIG.yaml`: one run."""

import sys

from .run import main

main(sys.argv[1:])
