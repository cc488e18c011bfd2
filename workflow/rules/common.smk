# The configuration, the plan, and the few functions the rules use. Nothing here imports torch.
#
# Data sets that cannot be had. Most sets can be downloaded, and a set that merely is not there yet is brought by rule
# `download` when something needs it. What cannot be had (no licence, every mirror refused for good, no such set in the
# demo's world) is found out when Snakemake asks for inputs, from file names, the marks of earlier downloads and the
# environment alone: `lacking`. Tables do not wait for such runs, their rows say `not run: <reason>`, and one line on
# stderr says so before anything starts and once more at the end. That is success, exit code 0, because configuration
# asks for it (unavailable: skip); with `unavailable: stop` the jobs stay and the first one fails with the same reason.
# What is asked for by name (a run's path, data_lsmdc) is never left out. A download that fails meanwhile is a failure,
# exit code 1: with --keep-going all else goes on, and tables that waited for it are built of what there is (onerror).
# A dry-run on a machine without any data set lists every job of the configuration: that is how one plans.
import functools
import re
import shlex
import sys
from pathlib import Path

SOURCE = Path(workflow.basedir) / "src"
sys.path.insert(0, str(SOURCE))

from petvr import environment, papers, planning
from petvr.data import catalogue
from petvr.config import rename_old_keys, validate_config
from petvr.errors import PetvrError
from petvr.data.frames import shards
from petvr.layout import Layout
from petvr.data.manifest import lock

try:
    VALUES = rename_old_keys(config, workflow.configfiles)
    CONFIG = validate_config(VALUES, workflow.configfiles)
    PLAN = planning.plan(CONFIG)
except PetvrError as error:
    print(f"petvr: error: {error}", file=sys.stderr)
    sys.exit(2)

LAYOUT = Layout(CONFIG.results)
DATA = CONFIG.data

environment.export(VALUES, SOURCE)
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
    return catalogue.datasets_in(CONFIG, folder)


def frame_shards(wildcards):
    """The indexes a folder's store is joined from; none where one job decodes all of it."""
    w = wildcards
    count = catalogue.frame_shards(CONFIG, w.folder)
    store = LAYOUT.frames(w.folder, w.sampler, w.frames, w.size)
    places = [shards.shard_folder(store, n, count) for n in range(1, count + 1)]
    return [place / "index.json" for place in places if count > 1]


def annotations(wildcards):
    return catalogue.manifest_inputs(CONFIG, wildcards.dataset)


def needed(name):
    """Manifest and frames of a data set: the stores its runs in this configuration read."""
    runs = [run for run in PLAN.runs.values() if run.dataset == name]
    stores = {catalogue.frame_store(CONFIG, run) / "index.json" for run in runs}
    return [LAYOUT.manifest(name), *sorted(stores)]


def table_files(name):
    return [LAYOUT.table(name, suffix) for suffix in ("md", "tex", "csv", "html")]


def figure_files(name):
    kinds = PLAN.tables[name].figures
    return [LAYOUT.figures / f"{name}.{kind}.svg" for kind in kinds]


@functools.cache
def lacking():
    """Data set -> verdict of those that no table waits for; announced where a person sees it."""
    found = planning.unavailable(CONFIG, PLAN)
    names = catalogue.chosen_datasets(CONFIG)
    if workflow.dryrun and not any(
        catalogue.availability(CONFIG, n).there for n in names
    ):
        return {}
    if workflow.is_main_process:
        announce(found)
    return found


def announce(found):
    for name, verdict in found.items():
        runs = {run for run in PLAN.runs if PLAN.runs[run].dataset == name}
        tables = [table for table in PLAN.tables.values() if runs & set(table.runs)]
        print(
            f"petvr: {name} cannot be had: {verdict.reason}. Left out: {len(runs)} runs; their rows in {len(tables)}"
            f" table(s) say `not run`. What to do: petvr data status {name}",
            file=sys.stderr,
        )


@functools.cache
def not_run():
    """Run -> why nobody waits for it."""
    return planning.not_run(CONFIG, PLAN, lacking())


def awaited(runs):
    """The runs that can be made, in their order."""
    without = not_run()
    return [run for run in runs if run not in without]


ASKED = []  # tables some job of this call builds


def results_of(wildcards):
    """The results a table is made of. Where one is missing, also the folder it went missing from: Snakemake leaves
    a finished table alone although an input of it was deleted, but not when a folder it reads is newer.
    """
    view = planning.table(PLAN, f"{wildcards.paper}/{wildcards.table}")
    ASKED.append(view.id)
    results = [LAYOUT.result(run) for run in awaited(view.runs)]
    return results + sorted(
        {closest(path) for path in results if not path.exists()} - {None}
    )


def standing_of(wildcards):
    """What a table says of its data beside the results: why rows are not run, and what is frozen."""
    view = planning.table(PLAN, f"{wildcards.paper}/{wildcards.table}")
    names = sorted({PLAN.runs[run].dataset for run in view.runs})
    without = {PLAN.runs[run].dataset: reason for run, reason in not_run().items()}
    return [
        f"{name} {without.get(name, '')} {lock.hash_of(catalogue.lock_file(CONFIG, name))}"
        for name in names
    ]


def unfinished():
    """Tables of this call that still wait for a result."""
    return [
        name
        for name in dict.fromkeys(ASKED)
        if not all(
            LAYOUT.result(run).exists() for run in awaited(PLAN.tables[name].runs)
        )
    ]


def tell_failures(logs):
    """Why rules failed, from their own logs: under `quiet: [rules]` Snakemake shows no more than their commands."""
    told = "".join(Path(log).read_text() for log in logs)
    failed = re.findall(r"> (.+) 2>&1' returned non-zero", told)
    for path in [Path(shlex.split(name)[0]) for name in dict.fromkeys(failed)]:
        lines = path.read_text().splitlines()[-5:] if path.exists() else []
        print(f"petvr: failed, {path}:", *lines, sep="\n    ", file=sys.stderr)


def closest(path):
    """The nearest folder above a path that exists, at most results: all that a table has that was made by hand before any run."""
    folder = next(
        folder for folder in path.parents if folder.exists() or folder == LAYOUT.results
    )
    return folder if folder.exists() else None
