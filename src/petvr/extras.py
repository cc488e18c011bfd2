"""What `pip install petvr` leaves out, and which extra brings it."""

from __future__ import annotations

from petvr.errors import PetvrError

EXTRAS = {  # module -> extra
    "snakemake": "workflow",
    "snakemake_executor_plugin_submitit": "workflow",
    "httpx2": "workflow",
    "matplotlib": "workflow",
    "pandas": "workflow",
    "pyarrow": "workflow",
    "tenacity": "workflow",
    "mlflow": "mlflow",
    "sqlalchemy": "mlflow",
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "yt_dlp": "youtube",
}


def missing_extra(what: str, error: ModuleNotFoundError) -> PetvrError | None:
    """What to install where `what` lacks a module of an extra; None where the module is none of those."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return None
    return PetvrError(f"{what} needs {module}, which is not installed: pip install 'petvr[{EXTRAS[module]}]'")
