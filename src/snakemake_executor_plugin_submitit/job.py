"""What node_runner.py was called before: jobs that an earlier version left in Slurm's queue start it by this name."""

import sys
from pathlib import Path

from snakemake_executor_plugin_submitit.node_runner import main

if __name__ == "__main__":
    main(Path(sys.argv[1]))
