import functools
import os
from pathlib import Path

import hypothesis
import pytest

# an example that takes long on a busy machine is no fault
hypothesis.settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any speed")
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # several workers, each with as many threads as there are cores, only wait


@pytest.fixture(scope="session")
def real_files() -> Path:
    """The folder of real annotation files and clips: PETVR_REAL, or ../shared/real beside the repository."""
    folder = Path(os.environ.get("PETVR_REAL") or Path(__file__).parents[2] / "shared" / "real")
    if not folder.is_dir():
        pytest.skip("no real annotation files: set PETVR_REAL to their folder")
    return folder


def pytest_xdist_make_scheduler(config, log):
    """`--dist loadgroup`: files with a costly fixture stay in one worker, those on a private Slurm all in the same one:
    they take daemons down and count what is in the queue. (The marks xdist_group come to nothing where pytest is 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            if Path(path).name.startswith("test_slurm_"):
                return "slurm"
            return path if _has_module_fixture(config.rootpath / path) else nodeid

    config.option.loadscopereorder = False  # the order is ours, see below
    return Groups(config, log) if config.getvalue("dist") == "loadgroup" else None


@functools.cache
def _has_module_fixture(path: Path) -> bool:
    return 'scope="module"' in path.read_text(encoding="utf-8")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest starts first; of the two private Slurms one only after the other has ended."""
    first = {"cluster": 1, "workflow": 2}

    def order(item: pytest.Item) -> tuple[int, bool]:
        parent = first.get(item.path.parent.name, 3)
        return 0 if item.get_closest_marker("slurm") else parent, "bare" in getattr(item, "fixturenames", ())

    items.sort(key=order)
