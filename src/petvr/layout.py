"""Where everything lies below `results`: one place that the workflow, the commands and the README agree on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from petvr.spec import RunSpec, picture_suffix


@dataclass(frozen=True)
class Layout:
    results: Path

    def weights(self, backbone: str) -> Path:
        return self.results / "weights" / backbone

    def manifest(self, dataset: str) -> Path:
        return self.results / "manifests" / f"{dataset}.json"

    def manifest_rows(self, dataset: str, split: str) -> Path:
        """Beside the manifest, one line per video; not asked for by any rule."""
        return self.results / "manifests" / f"{dataset}.{split}.parquet"

    def frames(self, folder: str, sampler: str, frames: int | str, size: int | str, picture: str = "crop") -> Path:
        """One store serves all splits of a data set and all runs with the same frames: nothing is decoded twice."""
        return self.frames_of(folder) / f"{sampler}-{frames}f-{size}px{picture_suffix(picture)}"

    def frames_of(self, folder: str) -> Path:
        """All frame stores of one folder of videos."""
        return self.results / "frames" / folder

    @property
    def feature_cache(self) -> Path:
        """What frozen towers give; may be deleted at any time."""
        return self.results / "feature_cache"

    @property
    def flop_counts(self) -> Path:
        """What a step of a model costs, counted by the first run of it; may be deleted at any time."""
        return self.results / "flops"

    @property
    def runs(self) -> Path:
        return self.results / "runs"

    def run(self, run_id: str | RunSpec) -> Path:
        return self.runs / _id(run_id)

    def result(self, run_id: str | RunSpec) -> Path:
        return self.run(run_id) / "result.json"

    def state(self, run_id: str | RunSpec) -> Path:
        """Checkpoints, outside the workflow's outputs: Snakemake deletes outputs of failed jobs."""
        return self.results / "state" / _id(run_id)

    def failure(self, run_id: str | RunSpec) -> Path:
        return self.state(run_id) / "failure.json"

    def lock(self, run_id: str | RunSpec) -> Path:
        """Held by the process that is at this run."""
        return self.state(run_id) / "lock"

    def locks(self) -> list[Path]:
        """Those of all runs below `results`, whether or not a configuration names them."""
        return list((self.results / "state").rglob("lock"))

    def finished(self, run_id: str | RunSpec) -> Path:
        """A result that came when no workflow waited for it any more; the next start takes it from here."""
        return self.state(run_id) / "result.json"

    def log(self, run_id: str | RunSpec) -> Path:
        return self.results / "logs" / f"{_id(run_id)}.log"

    def search(self, run_id: str | RunSpec) -> Path:
        """Features that `petvr search` keeps for the next query; may be deleted at any time."""
        return self.results / "search" / _id(run_id)

    def index(self, name: str) -> Path:
        """The index of a folder of videos, in shards."""
        return self.results / "indexes" / name

    @property
    def tables(self) -> Path:
        return self.results / "tables"

    def table(self, table: str, suffix: str) -> Path:
        return self.tables / f"{table}.{suffix}"

    @property
    def claims(self) -> Path:
        return self.results / "claims"

    @property
    def figures(self) -> Path:
        return self.results / "figures"

    def tuning(self, cell: str) -> Path:
        """The trials of a cell, the decisions between them, and what they came to."""
        return self.results / "tuning" / cell

    def trial_state(self, cell: str, trial: str) -> Path:
        """The checkpoint that a trial's next rung goes on from."""
        return self.results / "state" / "tuning" / cell / trial

    def kept_result(self, run_id: str | RunSpec) -> Path:
        """Beside the result of a run that waits for tuning: what it is made of again where nothing else was chosen."""
        return self.run(run_id) / "kept.json"

    @property
    def rehearsal(self) -> Path:
        """The page of `petvr rehearse`, what each of its parts said, and what it measured."""
        return self.results / "rehearsal"

    @property
    def rehearsed(self) -> Path:
        """The verdict, which every later result carries."""
        return self.rehearsal / "rehearsal.json"

    @property
    def measured_steps(self) -> Path:
        return self.rehearsal / "steps.json"

    @property
    def examples(self) -> Path:
        """Pages of `petvr examples`."""
        return self.results / "examples"

    @property
    def mlflow(self) -> Path:
        return self.results / "mlflow"


def _id(run: str | RunSpec) -> str:
    return run.id if isinstance(run, RunSpec) else run
