"""The factory of results lives with the tables' tests, a small run with those of training."""

import sys
from pathlib import Path

for folder in ("tables", "training", "frames"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))
