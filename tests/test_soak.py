"""Hours of reading and ranking, scaled down: neither memory nor open files grow with the turns."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
TURNS = 400
LOOP = f"""
import gc, json, os, pickle, sys
from pathlib import Path
import numpy as np, torch
import training_bench as tiny
from petvr.data.frames.store import FrameStore
from petvr.retrieval import ranking

folder, random = Path(sys.argv[1]), np.random.default_rng(0)
tiny.write_store(folder / "store", tiny.videos())
store, owner, figures = FrameStore(folder / "store"), np.arange(200) % 50, []
for turn in range({TURNS}):
    if turn % 10 == 0:  # opened anew, and handed to another process
        store = pickle.loads(pickle.dumps(store)) if turn % 20 else FrameStore(folder / "store")
    store.get([store.ids[number] for number in random.integers(0, len(store), 16)])
    scores = torch.from_numpy(random.normal(size=(200, 50))).float()
    ranking.evaluate(scores, owner, dsl="emcl", temperature=0.01, elements=2_000)
    if turn % 10 == 9:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        figures.append((pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd"))))
print(json.dumps(figures))
"""


def test_reading_and_ranking_for_long_takes_no_more_memory_or_files(tmp_path):
    paths = {"PYTHONPATH": str(Path(__file__).parent / "training"), "OMP_NUM_THREADS": "1", "PATH": ""}
    command = [sys.executable, "-c", LOOP, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=paths)
    assert done.returncode == 0, done.stderr
    memory, files = np.array(json.loads(done.stdout))[10:].T  # without the first quarter, in which caches fill
    slope = np.polyfit(np.arange(len(memory)) * 10, memory, 1)[0]
    print(f"{slope:.0f} bytes a turn, {len(set(files))} numbers of open files")
    # kept scores of one turn are 40,000 bytes, one query's 200; an allocator's steps were seen to make up 300
    assert slope < 2_000, f"memory grows by {slope:.0f} bytes a turn: {memory / 2**20} MiB"
    assert len(set(files)) == 1, files
