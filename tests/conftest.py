import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_files() -> Path:
    """The folder of real annotation files and clips: PETVR_REAL, or ../shared/real beside the repository."""
    folder = Path(os.environ.get("PETVR_REAL") or Path(__file__).parents[2] / "shared" / "real")
    if not folder.is_dir():
        pytest.skip("no real annotation files: set PETVR_REAL to their folder")
    return folder
