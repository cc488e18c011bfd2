import atexit
import functools
import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

import hypothesis
import pytest

# an example that takes long on a busy machine is no fault
hypothesis.settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any speed")
# tests start hundreds of processes, and each would compile all that it imports
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS"):
    os.environ.setdefault(variable, "1")  # several workers, each with as many threads as there are cores, only wait
gc.disable()  # until all is collected: going through what is imported again and again is a fifth of it


# shared by all workers; nothing that a test counts comes from the user's cache or gets there
if "PETVR_CACHE" not in os.environ:
    os.environ["PETVR_CACHE"] = tempfile.mkdtemp(prefix="petvr-cache-")
    atexit.register(shutil.rmtree, os.environ["PETVR_CACHE"], ignore_errors=True)

# each stays in one worker: its tests import the same that takes seconds, or want what is made once in a session
TOGETHER = ("tests/figures/", "tests/packaging/", "tests/tracking/", "tests/clip/test_clip_compiled.py")
WORKFLOWS_ON_SLURM = ("test_slurm_snakemake.py", "test_slurm_foreign.py")  # half of the time of all that run on Slurm


@pytest.fixture(scope="session")
def real_files() -> Path:
    """The folder of real annotation files and clips: PETVR_REAL, or ../shared/real beside the repository."""
    folder = Path(os.environ.get("PETVR_REAL") or Path(__file__).parents[2] / "shared" / "real")
    if not folder.is_dir():
        pytest.skip("no real annotation files: set PETVR_REAL to their folder")
    return folder


def pytest_xdist_make_scheduler(config, log):
    """`--dist loadgroup`: files with a costly fixture stay in one worker, and what is TOGETHER. Those on a private
    Slurm stay in two, each with a Slurm of its own: they take daemons down and count what is in the queue. (The marks
    xdist_group come to nothing where pytest is 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            if (name := Path(path).name).startswith("test_slurm_"):
                return f"slurm, whole workflows: {name in WORKFLOWS_ON_SLURM}"
            if together := [name for name in TOGETHER if path.startswith(name)]:
                return together[0]
            return path if _has_module_fixture(config.rootpath / path) else nodeid

    config.option.loadscopereorder = False  # the order is ours, see below
    return Groups(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@functools.cache
def _has_module_fixture(path: Path) -> bool:
    return 'scope="module"' in path.read_text(encoding="utf-8")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest starts first; of a worker's two kinds of Slurm one only after the other has ended."""
    first = {"cluster": 1, "workflow": 2, "packaging": 3, "tracking": 3}

    def order(item: pytest.Item) -> tuple[int, bool]:
        parent = first.get(item.path.parent.name, 4)
        return 0 if item.get_closest_marker("slurm") else parent, "bare" in getattr(item, "fixturenames", ())

    items.sort(key=order)


@pytest.fixture(scope="session")
def finished_result():
    """`finished_result(spec, plain, epoch=1, world=..., videos=...)`: a Result such as training leaves behind."""
    from petvr.result import Cost, Data, Evaluation, Provenance, Result

    def make(spec, plain, *, epoch=1, world="synthetic", videos=40, train_videos=1):
        both = {"plain": plain, "dsl": plain}
        counts = {"test_videos": videos, "test_videos_official": videos, "test_captions": videos}
        training = {"train_videos": train_videos, "train_videos_official": train_videos}
        return Result(
            id=spec.id,
            spec=spec,
            evaluations=[Evaluation(epoch=epoch, step=1, train_loss=1.0, plain=plain, dsl=plain, released=both)],
            selected={"best_on_test": 0, "last": 0},
            cost=Cost(trainable=10**6, total=151_277_313, trainable_by_part={}, train_seconds=1, eval_seconds=1),
            data=Data(world=world, digest="d", frames_digest="f", **training, **counts),
            provenance=Provenance(
                petvr="0",
                git_revision=None,
                git_dirty=None,
                packages={},
                hardware={},
                started="2026-01-01T00:00:00Z",
                finished="2026-01-01T00:00:00Z",
                spec_digest=spec.digest(),
                weights_digest="w",
            ),
        )

    return make
