"""`petvr export RUN --to FOLDER`: what a run learnt, for others to load; `--merge` and `--peft` for other libraries."""

from __future__ import annotations

import argparse

from petvr.arguments import beside, licence, named_path
from petvr.commands.search import run_folder
from petvr.config import Config
from petvr.data import catalogue
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.result import Result


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a finished run's id, its folder, or its result.json")
    parser.add_argument("--to", type=named_path, required=True, metavar="FOLDER", help="a new folder")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--merge", action="store_true", help="a whole CLIPModel folder (LoRA, SSF, bias, full and the like)"
    )
    form.add_argument("--peft", action="store_true", help="LoRA in PEFT's adapter format")
    parser.add_argument(
        "--license", type=licence, default="mit", metavar="ID", help="of the folder, by the hub's names (default: mit)"
    )
    parser.add_argument("--push", metavar="OWNER/NAME", help="then upload the folder to the hub, with your own login")
    parser.add_argument(
        "--public", action="store_true", help="a repository that is made for it is public (else private)"
    )


def run(args: argparse.Namespace, config: Config) -> None:
    beside(args, "push", public=False)
    from petvr.library.backbone import HUB_ID
    from petvr.library.export import export_run
    from petvr.library.hub import push_folder

    if args.push and not HUB_ID.fullmatch(args.push):
        raise PetvrError(f"--push {args.push}: no hub id; one is owner/name")
    folder = run_folder(args.run, Layout(config.results), config)
    spec = Result.read(folder / "result.json").spec
    source = config.weights.get(spec.backbone, "")
    out = export_run(
        folder,
        args.to,
        merge=args.merge,
        peft=args.peft,
        licence=args.license,
        hub_id=source if HUB_ID.fullmatch(source) else "",
        captions=lambda: catalogue.open_dataset(config, spec.dataset).split("train").captions,
    )
    print(f'{out}: petvr.load("{out}") reads it; look at README.md before you share it')
    if args.push:
        print(push_folder(out, args.push, private=not args.public))
