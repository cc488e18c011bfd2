#!/usr/bin/env bash
# The tests that lean most on the standard library, on the Pythons named (3.12 3.13), each in a virtual environment of the
# pinned packages that these tests need: neither torch nor MLflow, so that it takes two minutes and half a gigabyte.
# What is not on this machine is said to be skipped. OTHER_MINUTES (15): no Python begins later, none takes longer.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/fresh_machine/tests.sh
folder=$(mktemp -d "${TMPDIR:-/tmp}/pythons.XXXXXX")
trap 'rm -rf "$folder"' EXIT

interpreter() { # of version $1: on PATH, by pyenv, by uv
  local newest
  newest=$(pyenv versions --bare 2>/dev/null | grep -E "^$1(\.|$)" | sort -V | tail -n 1 || true)
  for command in "python$1" "${newest:+$(pyenv prefix "$newest" 2>/dev/null)/bin/python}" "$(uv python find --offline "$1" 2>/dev/null || true)"; do
    if [ "$command" ] && "$command" -c 'import venv, ensurepip' 2>/dev/null; then echo "$command"; return; fi
  done
}

python3 - >"$folder/needed" <<'PYTHON'
import re, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
left_out = {"torch", "transformers", "matplotlib", "snakemake-executor-plugin-submitit"}  # the last comes from src/
extras = project["optional-dependencies"]
wanted = [*project["dependencies"], *extras["workflow"], *extras["serve"], "submitit", "pytest", "pytest-xdist", "hypothesis"]
print("\n".join(line for line in wanted if re.split(r"[<>=;\s]", line)[0] not in left_out))
PYTHON

[ $# -gt 0 ] || set -- 3.12 3.13
for version in "$@"; do
  if [ $((SECONDS / 60)) -ge "${OTHER_MINUTES:-15}" ]; then
    echo "Python $version: left out after $((SECONDS / 60)) minutes"
    continue
  fi
  python=$(interpreter "$version")
  [ "$python" ] || { echo "Python $version: skipped, it is not on this machine"; continue; }
  began=$SECONDS venv=$folder/$version
  "$python" -m venv "$venv"
  pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c envs/constraints.txt -r "$folder/needed")
  "${pip[@]}" >"$folder/log" 2>&1 || { echo "Python $version: skipped, pip: $(grep -m 1 ERROR "$folder/log" || tail -n 1 "$folder/log")"; continue; }
  echo "$("$venv/bin/python" -V): installed in $((SECONDS - began)) s"
  code=0 minutes=${OTHER_MINUTES:-15}
  # shellcheck disable=SC2086
  PYTHONPATH=$PWD/src timeout --kill-after=20 "${minutes}m" "$venv/bin/python" -m pytest -q -p no:cacheprovider -n "$(nproc)" \
    -m "not slow and not slurm" --ignore tests/manifest/test_manifest_runs.py --ignore tests/manifest/test_manifest_decoded.py \
    $TESTS || code=$? # the two ignored need torch
  case $code in
    0) ;;
    124 | 137) echo "Python $version: cut after $minutes minutes" ;;
    *) exit "$code" ;;
  esac
done
