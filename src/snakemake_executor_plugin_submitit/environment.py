"""The environment a job gets: chosen variables of the caller's, and nothing of an outer Slurm job."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping

# what a job needs to find the same programs and libraries as the caller; everything else must be asked for
USUAL = (
    "PATH PYTHONPATH PYTHONNOUSERSITE PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE LD_LIBRARY_PATH LIBRARY_PATH CPATH",
    "HOME USER LOGNAME SHELL LANG LANGUAGE LC_* TZ TERM COLUMNS XDG_* VIRTUAL_ENV CONDA_* MAMBA_* _CE_*",
    "MODULEPATH MODULESHOME MODULE_VERSION LOADEDMODULES _LMFILES_ LMOD_* _LMOD_* __LMOD* _ModuleTable*",
    "BASH_FUNC_module* BASH_ENV CUDA_HOME CUDA_PATH CUDA_ROOT NVIDIA_* OMP_* MKL_*",
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE APPTAINER_* SINGULARITY_*",
    "http_proxy https_proxy no_proxy all_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY",
)

# settings of an enclosing job or of the caller's shell that would override or break a job's own; SLURM_CONF says
# which cluster is meant and stays
FOREIGN = (
    "SLURM_* SLURMD_* SLURMCTLD_* SBATCH_* SRUN_* SALLOC_* SQUEUE_* SACCT_* SCANCEL_*",
    "SUBMITIT_* PMI_* PMIX_*",
)
KEPT = ("SLURM_CONF",)


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for line in patterns for pattern in line.split())


def without_foreign(env: Mapping[str, str]) -> dict[str, str]:
    """`env` without what an enclosing Slurm job or SBATCH_* defaults left in it."""
    return {name: value for name, value in env.items() if name in KEPT or not matches(name, FOREIGN)}


def job_environment(env: Mapping[str, str], more: str | None, declared: Mapping[str, str]) -> dict[str, str]:
    """The variables of a job: the usual ones, those of the setting `more`, and those the workflow declared."""
    wanted = [name.strip() for name in (more or "").split(",") if name.strip()]
    passed = without_foreign(env)
    if "all" not in wanted:
        passed = {name: value for name, value in passed.items() if name in KEPT or matches(name, (*USUAL, *wanted))}
    return {**passed, **declared}
