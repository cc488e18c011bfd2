"""`petvr data msvd`: check a data set and write its manifest; `freeze` it to a lock; `status` of all of them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from petvr import planning
from petvr.config import Config
from petvr.data import availability, catalogue, datasets
from petvr.errors import PetvrError, unknown
from petvr.layout import Layout
from petvr.papers.plan import Plan

if TYPE_CHECKING:
    from petvr.data.manifest.state import StatusRequest

ACTIONS = {
    "check": "count videos and captions, look at every file, compare with the lock, write the manifest",
    "freeze": "check, and write the lock locks/<dataset>.json, to be committed (default: all that are there)",
    "status": "what is there of every data set, what is missing, and what to do next",
}
SHOWN = 30  # differences printed before the rest is only counted


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "petvr data [check] DATASET | freeze [DATASET ...] | status [DATASET ...]"
    lines = [f"  {name:<7} {text}" for name, text in ACTIONS.items()]
    parser.epilog = "actions:\n" + "\n".join(lines) + f"\n\ndata sets: {', '.join(datasets.available())}"
    parser.add_argument("words", nargs="+", metavar="ACTION or DATASET", help="without an action: check")
    parser.add_argument("--accept", action="store_true", help="take what differs from the lock as the new truth")
    parser.add_argument("--checksum", action="store_true", help="sha256 of whole files (default: size and both ends)")
    parser.add_argument("--all", action="store_true", help="print every difference from a lock")


def run(args: argparse.Namespace, config: Config) -> int:
    first, *rest = args.words
    action, names = (first, rest) if first in ACTIONS else ("check", args.words)
    known = catalogue.dataset_names(config)
    for name in names:
        if name not in known:
            raise unknown("data set", name, known if action != "check" or rest else [*known, *ACTIONS])
    if action == "status":
        _status(names, config)
        return 0
    if action == "check" and not names:
        raise PetvrError(f"name a data set: petvr data check {' | '.join(known)}")
    refused = 0
    for name in names or _there(config):
        try:
            _check(name, config, freeze=action == "freeze", accept=args.accept, checksum=args.checksum, every=args.all)
        except PetvrError as error:
            if len(names) == 1:
                raise
            print(f"petvr: error: {error}", file=sys.stderr)
            refused += 1
    return 2 if refused else 0


def _check(name: str, config: Config, *, freeze: bool, accept: bool, checksum: bool, every: bool) -> None:
    from petvr.data import manifest
    from petvr.data.manifest import available, files, lock

    layout, path = Layout(config.results), catalogue.lock_file(config, name)
    dataset = catalogue.open_dataset(config, name)
    _present(dataset)
    with manifest.check_progress(name) as step:
        download_states = available.read_missing(catalogue.download_folder(config, name))
        checked = manifest.check_dataset(
            dataset, layout, path, download_states=download_states, checksum=checksum, step=step
        )
    for split, counts in checked.summary.splits.items():
        print(f"{name} {split}: {manifest.split_summary(split, counts, checked.rows)}")
    if checked.changes and not accept:
        shown = checked.changes if every else checked.changes[:SHOWN]
        print(f"{name}: not as it was frozen in {path}:", file=sys.stderr)
        for change in shown:
            print(f"  {change}", file=sys.stderr)
        if len(checked.changes) > len(shown):
            print(f"  and {len(checked.changes) - len(shown):,} more (--all prints them)", file=sys.stderr)
        raise PetvrError(
            f"{path}: {len(checked.changes):,} difference(s) between the frozen data and the disk, listed above; put "
            f"the files back, or accept them: petvr data freeze {name} --accept"
        )
    train = [row for row in checked.rows if row.ok and row.split == "train"]
    availability.require_batches(
        planning.plan(config, may_be_empty=True), name, len(train), sum(row.captions for row in train)
    )
    left = [row for row in checked.rows if not row.ok]
    if left and config.missing == "strict":
        raise PetvrError(
            f"{dataset.videos}: {len(left):,} videos cannot be used ({left[0].video}: {left[0].status}, "
            f"{left[0].reason}), and missing is strict"
        )
    files.write_manifest(layout, name, checked.rows, checked.summary)
    if freeze or (accept and checked.changes):
        lock.write_lock(path, checked.now)
        print(f"{name}: frozen as {checked.now.hash} in {path}; commit this file")
    elif checked.frozen:
        print(f"{name}: as frozen, {checked.frozen.hash}")


def _present(dataset: datasets.Dataset) -> None:
    """A data set that is not there at all is told in one line, with where it belongs and how it is had."""
    absent = [path for path in dataset.annotation_files() if not path.exists()]
    if absent and (len(absent) == len(dataset.annotation_files()) or not dataset.videos.is_dir()):
        raise PetvrError(
            f"{dataset.root}: data set '{dataset.name}' is not there: {', '.join(path.name for path in absent)} and "
            f"the videos in {dataset.videos}; `petvr data status {dataset.name}` says how to get them, "
            f"paths.{dataset.folder} in config.yaml names another place"
        )


def _status(names: list[str], config: Config) -> None:
    from petvr.data.manifest import check_progress, report
    from petvr.data.manifest.state import dataset_status

    plan = planning.plan(config, may_be_empty=True)
    states = []
    for name in names or catalogue.chosen_datasets(config):
        with check_progress(name) as step:
            states.append(dataset_status(_asked(name, config, plan), step))
    report.show(states)
    for name in names:
        report.sources(catalogue.open_dataset(config, name))


def _asked(name: str, config: Config, plan: Plan) -> StatusRequest:
    from petvr.data.manifest.state import StatusRequest

    stores = {catalogue.frame_store(config, run) for run in plan.runs.values() if run.dataset == name}
    return StatusRequest(
        dataset=catalogue.open_dataset(config, name),
        layout=Layout(config.results),
        lock=catalogue.lock_file(config, name),
        download=catalogue.download_folder(config, name),
        given=catalogue.given_by_user(config, name),
        stores=sorted(stores),
        verdict=catalogue.availability(config, name),
        make=f"snakemake --profile demo data_{name}" if catalogue.is_generated(config, name) else "",
    )


def _there(config: Config) -> list[str]:
    present = [name for name in catalogue.chosen_datasets(config) if catalogue.is_present(config, name)]
    if not present:
        raise PetvrError(f"{config.data}: none of the data sets is there; see petvr data status")
    return present
