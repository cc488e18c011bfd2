"""`petvr init FOLDER`: the files from which `snakemake` and `petvr` work there, with the workflow that is installed."""

from __future__ import annotations

import argparse
import shlex

from petvr import atomic
from petvr.arguments import named_path
from petvr.config import PIPELINE, Config
from petvr.errors import PetvrError

WORLDS = ("workflow/demo.yaml", "workflow/demo_all.yaml", "workflow/demo_fair.yaml")
COPIED = ("config.yaml", "demo/config.yaml", "slurm/config.yaml", *WORLDS)
WRITTEN = {
    "Snakefile": """\
# petvr's workflow as it is installed; rules of your own may follow.
#   snakemake --cores 8 -n all_tables                             what config.yaml asks for
#   snakemake --profile demo results/demo/tables/rap/table_4.md   a synthetic world, minutes on two CPU cores
from importlib.resources import files


include: str(files("petvr") / "pipeline" / "workflow" / "Snakefile")
""",
    "profiles/default/config.yaml": """\
# What every `snakemake` in this folder does.
rerun-triggers: [mtime, params]   # not code: a new version of petvr trains again only what it would train otherwise
""",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=named_path, metavar="FOLDER", help="new, or without any of these files")
    parser.epilog = f"writes {', '.join([*COPIED, *WRITTEN])}"


def run(args: argparse.Namespace, config: Config) -> None:
    files = {name: (PIPELINE / name).read_text(encoding="utf-8") for name in COPIED} | WRITTEN
    if present := [name for name in files if (args.folder / name).exists()]:
        raise PetvrError(f"{args.folder / present[0]}: is there already; petvr init overwrites nothing")
    for name, text in files.items():
        (args.folder / name).parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(args.folder / name, text)
    print(f"{args.folder}: {', '.join(files)}")
    folder = shlex.quote(str(args.folder))
    print(f"next: cd {folder}; edit config.yaml (paths, tables); petvr plan; snakemake --cores 8 -n all_tables")
