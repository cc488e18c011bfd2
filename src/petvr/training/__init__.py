"""One run, from a spec to `result.json`: `petvr.training.run.train`. No torch here: the workflow reads VERSION."""

VERSION = 6  # goes into RunSpec.versions["training"]: raised when the same spec would give another number

EXIT_CHECKPOINTED = 75  # asked to stop (SIGTERM, SIGUSR2): the state is on disk, start again to continue (EX_TEMPFAIL)
