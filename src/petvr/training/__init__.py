"""One run, from a spec to `result.json`. No torch here: the workflow reads VERSION and the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from petvr.result import Result
    from petvr.spec import RunSpec

VERSION = 2  # goes into RunSpec.versions["training"]: raised when the same spec would give another number

EXIT_CHECKPOINTED = 75  # asked to stop (SIGTERM, SIGUSR2): the state is on disk, start again to continue (EX_TEMPFAIL)


def run(spec: RunSpec, **options: Any) -> Result:
    """Train and evaluate one run; the options are those of `petvr.training.job.run`."""
    from petvr.training import job

    return job.run(spec, **options)
