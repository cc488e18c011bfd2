# The configuration, the plan, and the few functions the rules use. Nothing here imports torch.
import sys
from pathlib import Path

SOURCE = Path(workflow.basedir) / "src"
sys.path.insert(0, str(SOURCE))

from petvr import catalogue, environment, planning
from petvr.config import check
from petvr.errors import PetvrError
from petvr.frames import shards
from petvr.layout import Layout

try:
    CONFIG = check(config, workflow.configfiles)
    PLAN = planning.plan(CONFIG)
except PetvrError as error:
    print(f"petvr: error: {error}", file=sys.stderr)
    sys.exit(2)

LAYOUT = Layout(CONFIG.results)
DATA = CONFIG.data

environment.export(config, SOURCE)
ENVIRONMENT = str(Path(workflow.basedir) / "envs" / "petvr.yaml")


wildcard_constraints:
    paper="[a-z0-9_]+",
    table="[a-z0-9_]+",
    dataset="[a-z0-9-]+",
    folder="[a-z0-9]+",
    backbone="[a-z0-9-]+",
    method="[^/]+",
    seed="[0-9]+",
    sampler="[a-z0-9_]+",
    frames="[0-9]+",
    size="[0-9]+",


def run_of(wildcards):
    """The spec of the run that the wildcards of rule `train` name."""
    w = wildcards
    return planning.spec(
        CONFIG, f"{w.paper}/{w.dataset}/{w.backbone}/{w.method}/seed-{w.seed}", PLAN
    )


def sharing(folder):
    """The data sets that lie in one folder: both MSR-VTT splits read one store of frames."""
    return catalogue.sharing(CONFIG, folder)


def frame_shards(wildcards):
    """The indexes a folder's store is joined from; none where one job decodes all of it."""
    w = wildcards
    count = planning.frame_shards(CONFIG, w.folder)
    store = LAYOUT.frames(w.folder, w.sampler, w.frames, w.size)
    places = [shards.folder(store, n, count) for n in range(1, count + 1)]
    return [place / "index.json" for place in places if count > 1]


def annotations(wildcards):
    """What a manifest depends on: the world's mark, or those annotation files of the real data that are there."""
    dataset = catalogue.load(CONFIG, wildcards.dataset)
    if CONFIG.world is not None and wildcards.dataset not in CONFIG.own:
        return [dataset.root / "world.json"]
    return [file for file in dataset.annotation_files() if file.exists()]


def table_files(name):
    return [LAYOUT.table(name, suffix) for suffix in ("md", "tex", "csv", "html")]


def figure_files(name):
    return [LAYOUT.figures / f"{name}.{kind}.svg" for kind in ("scatter", "curves")]


def results_of(wildcards):
    """The results a table is made of. Where one is missing, also the folder it went missing from: Snakemake leaves
    a finished table alone although an input of it was deleted, but not when a folder it reads is newer.
    """
    view = planning.table(PLAN, f"{wildcards.paper}/{wildcards.table}")
    results = [LAYOUT.result(run) for run in view.runs]
    return results + sorted(
        {closest(path) for path in results if not path.exists()} - {None}
    )


def closest(path):
    """The nearest folder above a path that exists, below the folder of all runs."""
    found = next(
        folder for folder in path.parents if folder.exists() or folder == LAYOUT.runs
    )
    return found if found.exists() else None
