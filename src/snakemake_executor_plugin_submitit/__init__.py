"""A Snakemake executor on submitit: arrays, a ledger that survives the head, checkpoint and requeue, local mode."""

from importlib import import_module

_PLACES = {"Executor": "executor", "ExecutorSettings": "settings", "common_settings": "executor"}


def __getattr__(name):
    # resolved on demand: the jobs on the nodes import one small module and must not pay for Snakemake's interfaces
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
