import os
from pathlib import Path

import pytest

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # several workers, each with as many threads as there are cores, only wait


@pytest.fixture(scope="session")
def real_files() -> Path:
    """The folder of real annotation files and clips: PETVR_REAL, or ../shared/real beside the repository."""
    folder = Path(os.environ.get("PETVR_REAL") or Path(__file__).parents[2] / "shared" / "real")
    if not folder.is_dir():
        pytest.skip("no real annotation files: set PETVR_REAL to their folder")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a costly fixture stay in one worker (`--dist loadgroup`); what takes longest starts first."""
    for item in items:
        info = getattr(item, "_fixtureinfo", None)
        fixtures = info.name2fixturedefs.values() if info else ()
        if item.get_closest_marker("slurm") or any(one.scope == "module" for each in fixtures for one in each):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    first = {"cluster": 0, "workflow": 1}
    items.sort(key=lambda item: first.get(item.path.parent.name, 2))
