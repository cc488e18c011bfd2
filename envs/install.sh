#!/usr/bin/env bash
# Create .venv with the pinned packages. PETVR_TORCH=cpu|cuda chooses the build of torch; by default cuda where
# nvidia-smi finds a GPU, else cpu. A CPU install never pulls the CUDA packages: pip is asked first what it would take.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "petvr needs Python >= 3.11, '$python' is $("$python" -V); set PYTHON=python3.12 (or newer)" >&2; exit 2; }
[ -x "$venv/bin/pip" ] || "$python" -m venv "$venv" ||
  { echo "no venv module: apt install python3-venv" >&2; exit 2; }

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
torch=$(grep '^torch==' envs/constraints.txt)

if ! "$venv/bin/python" -c "import importlib.metadata as m, sys; sys.exit(m.version('torch').split('+')[0] != '${torch#torch==}')" 2>/dev/null; then
  build=${PETVR_TORCH:-$(nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)}
  echo "petvr: installing $torch, $build build"
  case $build in
    cuda) pip install --quiet "$torch" ;;
    cpu)
      if pip install --quiet --dry-run --ignore-installed --report - "$torch" | grep -q '"name": "nvidia-'; then
        pip install --quiet --index-url https://download.pytorch.org/whl/cpu "$torch"
      else
        pip install --quiet "$torch"
      fi ;;
    *) echo "PETVR_TORCH is '$build'; allowed: cpu, cuda" >&2; exit 2 ;;
  esac
fi
echo "petvr: installing the pinned packages (about 1 GB)"
pip install --quiet --constraint envs/constraints.txt --editable ".[test]"
