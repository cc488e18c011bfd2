"""A Snakemake executor on submitit: arrays, a ledger that survives the head, checkpoint and requeue, local mode."""

from importlib import import_module

_MODULES = {"Executor": "executor", "ExecutorSettings": "settings", "common_settings": "executor"}


def __getattr__(name):
    # resolved on demand: the jobs on the nodes import two small modules and must not pay for Snakemake's interfaces
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
