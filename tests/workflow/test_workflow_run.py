"""The whole road on a world of a few videos: what runs, what runs again, and what a user sees when things break."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import forked_snakemake
import pytest
import yaml

from petvr import fork_server
from petvr.result import Result

ROOT = Path(__file__).parents[2]
TABLE = "cross_modal_adapter/table_2"
RUN = "cross_modal_adapter/msvd/tiny/cross_modal_adapter@ds=16,r=16/seed-0"
OTHER = RUN.replace("seed-0", "seed-5")
HOSTILE = "a b'$(touch x);ü"  # in the name of the project's folder and of its results: nothing of it may be executed
RESULTS, DATA = f"results {HOSTILE}", f"data {HOSTILE}"
MICRO = {
    "tables": [TABLE],
    "datasets": ["msvd"],
    "methods": "all",
    "seeds": [0, 1],
    "results": RESULTS,
    "data": DATA,
    "recipe": {"default": {"epochs": 1, "batch": 8, "frames": 3, "words": 24}},
    "world": {"sizes": {"msvd": {"train": 8, "val": 2, "test": 6}}, "tiny_clip": {"steps": 4, "batch": 16}},
}

pytestmark = pytest.mark.slow


WAITS = """
import os, sys
print(os.environ["PETVR_WARM"], flush=True)
sys.stdin.read()
"""


class Project:
    """A copy of the repository in which files may be edited, and a small world in it.

    As a context its commands are forks of one process, as in `make demo`.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("Snakefile", "config.yaml"):
            shutil.copy(ROOT / name, folder / name)
        for name in ("workflow", "src", "envs"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc.*", "*.egg-info"))
        (folder / "micro.yaml").write_text(yaml.safe_dump(MICRO))
        self.environment = {key: value for key, value in os.environ.items() if key != "PETVR_CONFIG"}
        self.environment |= {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}

    def __enter__(self):
        command = [sys.executable, "-m", "petvr", "warm", "--", sys.executable, "-c", WAITS]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.warm = subprocess.Popen(command, cwd=self.folder, env=self.environment, **pipes)
        self.environment[fork_server.VARIABLE] = self.warm.stdout.readline().strip()
        return self

    def __exit__(self, *_):
        self.warm.communicate()

    def call(self, module, *arguments, cold=False):
        environment = {key: value for key, value in self.environment.items() if not cold or key != fork_server.VARIABLE}
        if module == "snakemake":
            return forked_snakemake.call(arguments, self.folder, environment)
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=environment, timeout=3000)

    def snakemake(self, *targets, config=(), dry=False, cold=False):
        """Rule -> number of jobs it ran (or would run)."""
        done = self.call(
            "snakemake", "--configfile", "workflow/demo.yaml", "micro.yaml", "--cores", "2", "--rerun-triggers",
            "mtime", "params", "--quiet", "rules", "--verbose", *(["-n"] if dry else []),
            *(["--config", *config] if config else []), "--", *(targets or ["all_tables"]), cold=cold,
        )  # fmt: skip
        text = done.stdout + done.stderr
        assert done.returncode == 0, text
        self.looks = text.count("Ready jobs: ")
        if "Job stats:" not in text:
            assert "Nothing to be done" in text, text
            return {}
        lines = [line.split() for line in text.split("Job stats:")[1].splitlines()[3:]]
        return {parts[0]: int(parts[1]) for parts in lines[: lines.index([])] if parts[0] != "total"}

    def petvr(self, *arguments, cold=False):
        return self.call("petvr", "-c", "demo", "-c", "micro.yaml", *arguments, cold=cold)

    def result(self, run=RUN):
        return self.folder / RESULTS / "runs" / run / "result.json"

    def table(self, suffix, name=TABLE):
        return (self.folder / RESULTS / "tables" / f"{name}.{suffix}").read_text()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project") / HOSTILE
    folder.mkdir()
    project = Project(folder)
    papers = folder / "src" / "petvr" / "papers"
    shutil.copytree(papers / "cross_modal_adapter", papers / "fifth")  # a process that is warm knows those of its start
    with project:
        jobs = project.snakemake()
        assert jobs["train"] == 4
        # Snakemake looks at what waits when a job has ended, not each second
        assert project.looks <= 1 + sum(jobs.values())
        yield project


@pytest.fixture
def edited(project):
    """Change a file of the copy and have it back as it was, with its time, after the test."""
    kept = []

    def edit(name, old, new):
        path = project.folder / name
        text, stat = path.read_text(), path.stat()
        assert old in text, f"{name} does not hold {old!r}"
        kept.append((path, text, stat))
        path.write_text(text.replace(old, new, 1))

    yield edit
    for path, text, stat in reversed(kept):
        path.write_text(text)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.fixture(scope="module")
def cold(project):
    """The result and the weights of a process of its own, of a seed that no table asks for."""
    done = project.petvr("train", OTHER, "--threads", "1", cold=True)
    assert done.returncode == 0, done.stderr
    folder = project.result(OTHER).parent
    made = json.loads((folder / "result.json").read_text()), (folder / "adapter.safetensors").read_bytes()
    shutil.rmtree(folder)
    return made


def test_a_fork_of_a_warm_process_trains_to_the_same_bits(project, cold):
    done = project.petvr("train", OTHER, "--threads", "1", "--fresh")
    assert done.returncode == 0 and "no warm process" not in done.stderr, done.stderr
    folder = project.result(OTHER).parent
    warm, weights = json.loads((folder / "result.json").read_text()), (folder / "adapter.safetensors").read_bytes()
    shutil.rmtree(folder)
    assert warm["provenance"] != cold[0]["provenance"]
    assert warm["evaluations"] == cold[0]["evaluations"]
    assert weights == cold[1]


def test_tables_hold_mean_and_deviation_of_the_results(project):
    import numpy as np

    for name in ("cross_modal_adapter@ds=16,r=16", "cross_modal_adapter@r=16,share=false"):
        values = []
        for seed in (0, 1):
            result = json.loads(project.result(f"cross_modal_adapter/msvd/tiny/{name}/seed-{seed}").read_text())
            values.append(result["evaluations"][result["selected"]["best_on_test"]]["plain"]["t2v"]["R@5"])
        assert f"{np.mean(values):.1f}±{np.std(values, ddof=1):.1f}" in project.table("md")
    assert "synthetic world" in project.table("md") and "\\toprule" in project.table("tex")


def test_the_report_of_snakemake_holds_tables_with_their_titles_and_the_claims(project):
    given = ("--configfile", "workflow/demo.yaml", "micro.yaml", "--report", "report.html")
    done = project.call("snakemake", *given, "--", "all_tables")
    assert done.returncode == 0, done.stderr
    held = (project.folder / "report.html").read_text().partition('var results = {"')[2]
    values, _ = json.JSONDecoder().raw_decode('{"' + held)
    shown = {Path(path).relative_to(RESULTS).as_posix(): each for path, each in values.items()}
    title = re.search(r": ([^<]+?)(?: \[synthetic world\])?</title>", project.table("html"))[1]
    name = TABLE.partition("/")[2]
    assert shown[f"tables/{TABLE}.html"]["labels"] == {"table": f"{name}: {title}"}
    assert name in shown[f"tables/{TABLE}.html"]["caption"]
    assert any(path.startswith("claims/") for path in shown)


def test_a_deleted_result_runs_again_alone(project):
    others = [path for path in (project.folder / RESULTS / "runs").rglob("result.json") if path != project.result()]
    before = {path: path.stat().st_mtime_ns for path in others}
    first = json.loads(project.result().read_text())
    project.result().unlink()
    ran = project.snakemake()
    assert (ran["train"], ran["table"]) == (1, 1) and not {"world", "weights", "data", "frames"} & ran.keys()
    assert {path: path.stat().st_mtime_ns for path in others} == before
    again = json.loads(project.result().read_text())
    assert again["evaluations"] == first["evaluations"], "the same seed gives the same numbers"


def test_a_changed_result_builds_its_table_anew_and_one_that_is_only_touched_does_not(project):
    text = project.result().read_text()
    project.result().touch()
    assert project.snakemake() == {}, "nothing runs a second time"
    result = Result.read(project.result())
    chosen = result.at("best_on_test").plain["t2v"]
    chosen["R@5"] += 10
    result.write(project.result())
    ran = project.snakemake()
    assert "train" not in ran and ran["table"] == 1
    assert f"{chosen['R@5']:.1f}" in project.table("csv")
    project.result().write_text(text)
    project.snakemake()


def test_a_table_of_what_is_there_is_completed_later(project):
    """`tables_now` shows a missing run as missing, in a file of its own; asking for the table then runs it."""
    tables = project.folder / RESULTS / "tables"
    shutil.rmtree(project.result().parent)
    project.snakemake("tables_now")
    assert "1 of 2 seeds" in project.table("partial.md") and f"{TABLE}.partial.md" in (tables / "index.md").read_text()
    assert not (tables / f"{TABLE}.md").exists(), "as it was before, it would look finished"
    assert project.snakemake(f"{RESULTS}/tables/{TABLE}.md") == {"train": 1, "table": 1}
    assert "1 of 2 seeds" not in project.table("md") and not list(tables.rglob("*.partial.*"))
    project.snakemake()
    assert project.snakemake() == {}


def test_a_comment_trains_nothing_and_a_version_everything_that_uses_it(project, edited):
    method = "src/petvr/methods/cross_modal_adapter.py"
    edited(method, '"""', '"""Edited. ')
    assert project.snakemake(dry=True) == {}
    edited(method, "VERSION = 1", "VERSION = 2")
    assert project.snakemake(dry=True)["train"] == 4


def test_a_changed_recipe_value_runs_what_depends_on_it(project, edited):
    recipe = "src/petvr/papers/cross_modal_adapter/recipe.yaml"
    edited(recipe, "weight_decay: {value: 0.2", "weight_decay: {value: 0.1")
    assert project.snakemake(dry=True)["train"] == 4
    stale = project.petvr("cells").stdout
    assert stale.count(",stale") == 4


def test_an_override_of_one_method_leaves_the_others(project):
    assert project.snakemake(dry=True, config=["recipe={methods: {full: {epochs: 2}}}"]) == {}


def test_a_broken_result_empties_its_own_cell(project):
    text = project.result().read_text()
    try:
        project.result().write_text(text[:100])
        done = project.petvr("table", TABLE, "--show")
        assert done.returncode == 0
        assert "not JSON" in done.stdout and "w/o Share" in done.stdout
    finally:
        project.result().write_text(text)


def test_an_unreachable_tracking_store_is_a_warning(project, edited):
    edited("micro.yaml", "tables:", "tracking: {uri: 'sqlite:////proc/no/such/place.db'}\ntables:")
    done = project.petvr("track", TABLE)
    assert done.returncode == 0
    assert "petvr: warning: " in done.stderr and "results are safe" in done.stderr


def test_mlflow_can_be_deleted_and_rebuilt(project):
    shutil.rmtree(project.folder / RESULTS / "mlflow")
    done = project.petvr("track")
    assert done.returncode == 0 and " 4 runs logged" in done.stdout, done.stdout + done.stderr
    assert project.petvr("track").stdout.count("0 runs logged") == 1
    project.snakemake()


def test_show_and_cells(project):
    shown = project.petvr("show", RUN)
    assert shown.returncode == 0 and "guess" in shown.stdout
    states = [line.rsplit(",", 1)[1] for line in project.petvr("cells").stdout.splitlines()[1:]]
    assert states.count("done") == 4


def test_the_method_of_the_readme_runs_as_one_new_file(project):
    import re

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "VERSION" in block)
    method = project.folder / "src" / "petvr" / "methods" / "block_scale.py"
    method.write_text(code)
    run = "cross_modal_adapter/msvd/tiny/block_scale/seed-0"
    try:
        assert project.snakemake(f"{RESULTS}/runs/{run}/result.json")["train"] == 1
    finally:
        method.unlink()
    result = json.loads(project.result(run).read_text())
    width = json.loads((project.folder / RESULTS / "weights/tiny/config.json").read_text())
    per_tower = [
        width[part]["hidden_size"] * width[part]["num_hidden_layers"] for part in ("vision_config", "text_config")
    ]
    assert result["cost"]["trainable_by_part"]["new"] == sum(per_tower)


def test_a_paper_that_is_one_new_folder_trains_its_run_and_fills_its_table(project):
    chosen = ["tables=[fifth/table_1]", "datasets=[msvd]", "methods=[coop]", "seeds=[0]"]
    ran = project.snakemake(f"{RESULTS}/tables/fifth/table_1.md", config=chosen)
    text = project.table("md", "fifth/table_1")
    assert ran["train"] == 1
    trained, *others = [line for line in text.splitlines() if line.startswith("| CoOp |")]
    assert trained.endswith("| n=1 |") and "synthetic world" in text
    assert all(row.endswith("| not selected |") for row in others)


def test_a_missing_caption_file_is_named(project):
    captions = project.folder / DATA / "msvd" / "captions_msvd.json"
    text = captions.read_text()
    captions.unlink()
    try:
        done = project.petvr("data", "msvd")
    finally:
        captions.write_text(text)
    assert done.returncode == 2
    assert done.stderr.startswith("petvr: error: ") and "captions_msvd.json" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_corrupt_video_is_recorded_and_never_replaced(project):
    """The run goes on without it (missing: record) and says so; strict stops."""
    folder = project.folder / DATA / "msvd" / "videos"
    video = sorted(folder.iterdir())[0]
    whole = video.read_bytes()
    video.write_bytes(whole[: len(whole) // 3])
    try:
        arguments = ("--sampler", "linspace_all", "--frames", "2", "--size", "48", "--workers", "1")
        done = project.petvr("frames", "msvd", *arguments)
        assert done.returncode == 0 and f"cannot be read: {video.stem}" in done.stdout, done.stdout + done.stderr
        index = json.loads((project.folder / RESULTS / "frames/msvd/linspace_all-2f-48px/index.json").read_text())
        assert video.stem in index["problems"] and video.stem not in index["videos"]
    finally:
        video.write_bytes(whole)


@pytest.fixture
def other(project, edited):
    """Configuration for a second table whose data set the world does not have; all is as before afterwards."""
    whole = (project.folder / "workflow" / "demo.yaml").read_text()
    demo = yaml.safe_load(whole)
    demo["world"]["sizes"] = {"msvd": demo["world"]["sizes"]["msvd"]}
    edited("workflow/demo.yaml", whole, yaml.safe_dump(demo))
    yield ["datasets=[msvd,lsmdc]", f"tables=[{TABLE},vop/table_6]"]
    for path in (project.folder / RESULTS / "tables" / "vop").glob("table_6.*"):
        path.unlink()
    project.snakemake()


def test_a_data_set_that_cannot_be_had_leaves_its_rows_saying_why(project, other):
    """All else is built, nothing is trained for it, and the call succeeds: the configuration asks for that."""
    (project.folder / RESULTS / "tables" / f"{TABLE}.md").unlink()
    ran = project.snakemake("all_tables", config=other)
    assert "train" not in ran and "world" not in ran and ran["table"] == 2
    text = project.table("md", "vop/table_6")
    assert "not run: not in this world" in text
    assert "LSMDC: not run here: not in this world (world.sizes in the configuration has no lsmdc)." in text
    assert "±" in project.table("md")
    assert project.snakemake("all_tables", config=other) == {}


def test_where_a_missing_data_set_must_stop_the_run_the_rest_is_still_shown(project, other):
    done = project.call(
        "snakemake", "--configfile", "workflow/demo.yaml", "micro.yaml", "--cores", "2", "--keep-going", "--quiet",
        "rules", "--rerun-triggers", "mtime", "params", "--config", *other, "unavailable=stop", "--", "all_tables",
    )  # fmt: skip
    assert done.returncode == 1
    told = done.stderr.partition("petvr: failed, ")[2]  # quiet or not, the reason is on the screen
    assert "petvr: error: unknown data set of the world 'lsmdc'" in told
    assert "not run: not in this world" in project.table("partial.md", "vop/table_6"), "it waits: `unavailable: stop`"


def test_a_data_set_by_name_and_freezing_it_trains_nothing(project):
    assert project.snakemake("data_msvd") == {}
    lock = project.folder / "results" / "demo" / "locks" / "msvd.json"
    try:
        assert project.petvr("data", "freeze", "msvd").returncode == 0
        frozen = json.loads(lock.read_text())["hash"]
        assert json.loads(project.result().read_text())["data"]["manifest"] == frozen, "runs carried it before"
        assert project.snakemake() == {"table": 1, "index": 1, "all_tables": 1}
        assert f"lock {frozen}" in project.table("md")
        again = project.petvr("train", RUN, "--threads", "1")
        assert again.returncode == 0 and json.loads(project.result().read_text())["data"]["frozen"]
    finally:
        lock.unlink()
    project.snakemake()
    assert "not frozen" in project.table("md")


STOPPED_AT_ITS_FIRST_STEP = """
import os, signal
from petvr.training import run

def stopped(*arguments, step=run.train_step):
    os.kill(os.getpid(), signal.SIGTERM)
    step(*arguments)

run.train_step = stopped
"""  # as sitecustomize.py: Python imports it by that name, before anything else


def test_killed_training_leaves_everything_else_and_continues(project, cold, tmp_path):
    """SIGTERM in the middle: exit code 75, a checkpoint; the next call ends with the same numbers."""
    (tmp_path / "sitecustomize.py").write_text(STOPPED_AT_ITS_FIRST_STEP)
    path = f"{tmp_path}{os.pathsep}{project.folder / 'src'}"
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "petvr", "-c", "demo", "-c", "micro.yaml", "train", OTHER, "--threads", "1"]
    assert subprocess.run(command, cwd=project.folder, env=environment, stdout=subprocess.PIPE).returncode == 75
    assert not project.result(OTHER).exists()
    assert project.petvr("train", OTHER, "--threads", "1").returncode == 0
    assert json.loads(project.result(OTHER).read_text())["evaluations"] == cold[0]["evaluations"]


def test_after_kill_9_of_snakemake_its_run_is_waited_for_and_nothing_is_trained_twice(project):
    """The lock goes without --unlock, the run that lives on is called running, and no line of its log is lost."""
    from petvr import atomic
    from petvr.layout import Layout

    run = RUN.replace("seed-0", "seed-6")
    layout = Layout(project.folder / RESULTS)
    log, lock = layout.log(run), layout.lock(run)
    environment = {key: value for key, value in os.environ.items() if key != "PETVR_CONFIG"}
    environment |= {"PYTHONPATH": str(project.folder / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "snakemake", "--configfile", "workflow/demo.yaml", "micro.yaml", "--cores", "2"]
    command += ["--rerun-triggers", "mtime", "params", "--", str(project.result(run).relative_to(project.folder))]

    def texts_of_logs():
        """Of a log that is kept under a second name, too, once."""
        return list({path.stat().st_ino: path.read_text() for path in log.parent.glob("seed-6*.log")}.values())

    def waits():
        return sum("is at it already; waiting for it" in text for text in texts_of_logs())

    def waited_for(text, path):
        while not (path.exists() and text in path.read_text()):
            assert process.poll() is None, path.read_text()
            time.sleep(0.05)

    with atomic.file_lock(lock, "the test"):
        with open(project.folder / "first", "w") as out:
            process = subprocess.Popen(command, cwd=project.folder, env=environment, stdout=out, stderr=out)
        waited_for("is at it already; waiting for it", log)
        process.kill()
        process.wait()
        assert list((project.folder / ".snakemake" / "locks").iterdir())
        assert f"{run}: running: process {os.getpid()} on" in project.petvr("show", run).stderr
        with open(project.folder / "second", "w") as out:
            process = subprocess.Popen(command, cwd=project.folder, env=environment, stdout=out, stderr=out)
        waited_for("is removed: that process is gone", project.folder / "second")
        waited_for(f"{run}: still at work from an earlier start", project.folder / "second")
        while waits() < 2:  # the log of the first start lies beside that of the second
            assert process.poll() is None, (project.folder / "second").read_text()
            time.sleep(0.05)
        third = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True)
        assert third.returncode == 1 and "another Snakemake is at work in this folder" in third.stderr
    assert process.wait() == 0, (project.folder / "second").read_text()
    assert waits() >= 2, "a later start takes no log away"
    texts = "".join(texts_of_logs())
    assert texts.count("\ndone: epoch") == 1 and "error" not in texts, texts
    assert project.result(run).exists() and project.snakemake(command[-1], dry=True) == {}


def test_nothing_in_a_name_was_executed(project):
    """The last of this file: every rule ran in a folder, and into folders, whose names hold a command and quotes."""
    assert not [path for path in project.folder.rglob("x") if path.is_file()]
    assert sorted(path.name for path in project.folder.parent.iterdir()) == [HOSTILE]
