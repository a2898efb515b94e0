"""`python -m tagcorpus`: the command line, where the console script is not on the PATH."""

import sys

from tagcorpus.cli import main

if __name__ == "__main__":  # a worker process imports this file, too
    sys.argv[0] = "tagcorpus"  # the word by which a run folder writes the command down
    main(prog_name="python -m tagcorpus")
