#!/usr/bin/env bash
# Write envs/lock-cpu.txt and envs/lock-cuda.txt anew: all that petvr[all] needs on Linux x86_64 with Python 3.11, in the
# versions of envs/constraints.txt, with hashes. Needs uv and python3 with pip. TORCH_WHEELS names a folder that holds
# torch's CPU wheel, where download.pytorch.org cannot be reached.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -rL src/snakemake_executor_plugin_submitit "$folder/executor" # a build leaves a folder beside what it builds
python3 -m pip wheel --quiet --no-deps --wheel-dir "$folder" "$folder/executor"
for build in cpu cuda; do
  torch=()
  [ "$build" = cuda ] || if [ -n "${TORCH_WHEELS:-}" ]; then torch=(--find-links "$TORCH_WHEELS"); else torch=(--torch-backend cpu); fi
  uv pip compile pyproject.toml --extra all --constraint envs/constraints.txt --format pylock.toml --quiet \
    --python-version 3.11 --python-platform x86_64-manylinux_2_28 --find-links "$folder" "${torch[@]}" \
    --no-emit-package snakemake-executor-plugin-submitit --output-file "$folder/pylock.$build.toml"
  python3 - "$folder/pylock.$build.toml" "$build" >"$folder/lock-$build.txt" <<'PYTHON'
import sys
import tomllib

path, build = sys.argv[1:]
print(f"# petvr[all] with the {build} build of torch, Linux x86_64, Python 3.11; written by envs/lock.sh. Install with")
print(f"#   pip install --require-hashes --no-deps -r envs/lock-{build}.txt")
print("# and then, with --no-deps, the wheels of this repository: ./src/snakemake_executor_plugin_submitit and .")
if build == "cpu":
    print("--extra-index-url https://download.pytorch.org/whl/cpu")
for package in tomllib.load(open(path, "rb"))["packages"]:
    files = package.get("wheels") or [package["sdist"]]
    hashes = sorted(file["hashes"]["sha256"] for file in files)
    print(f"{package['name']}=={package['version']}", *(f"--hash=sha256:{one}" for one in hashes), sep=" \\\n    ")
PYTHON
  mv "$folder/lock-$build.txt" envs/
done
