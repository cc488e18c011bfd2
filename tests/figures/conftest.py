"""The factory of results lives with the tables' tests, the browser with those of the search page."""

import sys
from pathlib import Path

for folder in ("tables", "search"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))
