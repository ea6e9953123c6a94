"""A doorway to `mmre train`."""

import sys

from mmre.training.run import main, start_processes

if __name__ == "__main__":
    start_processes()
    main(sys.argv[1:])
