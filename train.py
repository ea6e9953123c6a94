"""A doorway to `mmre train`, for `accelerate launch train.py CONFIG` in a clone."""

import sys

from mmre.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
