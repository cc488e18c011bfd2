#!/usr/bin/env bash
# Create .venv with the pinned packages. What the machine lacks is said, with exit code 2, before anything is downloaded.
# PETVR_TORCH=cpu|cuda chooses the build of torch; by default cuda where nvidia-smi finds a GPU, else cpu. A CPU install
# never pulls the CUDA packages: pip is asked first what it would take. What pip says goes to .venv/install.log, and on the
# screen only where it fails. No compiler is needed: with Python 3.11-3.13 on Linux x86_64 every pinned package is a
# wheel or, connection_pool, pure Python.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
python=${PYTHON:-python3}
log=$venv/install.log

lacks() { echo "petvr: $1" >&2; exit 2; }
command -v "$python" >/dev/null || lacks "no $python here: apt install python3 python3-venv, or set PYTHON=/path/to/python3.12"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  lacks "needs Python >= 3.11, '$python' is $("$python" -V 2>&1); set PYTHON=python3.12 (or newer)"
"$python" -c 'import venv, ensurepip' 2>/dev/null || lacks "'$python' has no venv module: apt install python3-venv"
torch=$(grep '^torch==' envs/constraints.txt)
build=${PETVR_TORCH:-$(nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)}
case $build in
  cpu) need=3 ;;  # GB; 2.2 of them stay
  cuda) need=10 ;;
  *) lacks "PETVR_TORCH is '$build'; allowed: cpu, cuda" ;;
esac
has_torch() { "$venv/bin/python" -c "import importlib.metadata as m, sys; sys.exit(m.version('torch').split('+')[0] != '${torch#torch==}')" 2>/dev/null; }
has_torch || for folder in "$(dirname "$venv")" "${TMPDIR:-/tmp}"; do
  free=$(df -Pk "$folder" | awk 'NR == 2 {print int($4 / 1000000)}')
  [ "$free" -ge "$need" ] || lacks "$folder has $free GB free, the $build packages take $need (TMPDIR and VENV name other places)"
done

[ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
: >"$log"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@" 2>>"$log"; }
install() { # quietly; where it fails, with the end of what pip said
  pip install "$@" >>"$log" || { tail -n 20 "$log" >&2; lacks "pip failed; all it said is in $log"; }
}
if ! has_torch; then
  echo "petvr: installing $torch, $build build"
  index=()
  if [ "$build" = cpu ] && pip install --quiet --dry-run --ignore-installed --report - "$torch" | grep -q '"name": "nvidia-'; then
    index=(--index-url https://download.pytorch.org/whl/cpu)
  fi
  install "${index[@]}" "$torch"
fi
echo "petvr: installing the pinned packages (about 1 GB)"
install --constraint envs/constraints.txt --editable src/snakemake_executor_plugin_submitit --editable ".[all,test]"
