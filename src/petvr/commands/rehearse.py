"""`petvr rehearse`: does this installation give what the papers gave? Go or no-go on one page, before the first run."""

from __future__ import annotations

import argparse
import functools
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petvr import atomic, planning
from petvr.arguments import alone, named_path, number, threads
from petvr.config import Config
from petvr.data import availability, catalogue
from petvr.errors import unknown
from petvr.layout import Layout
from petvr.rehearsal import asked, parts
from petvr.rehearsal.parts import Part
from petvr.spec import RunSpec
from petvr.text_files import read_json, typed

if TYPE_CHECKING:
    from petvr.clip.config import ClipConfig


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="only these, and no page (--list names them); or `page`"
    )
    parser.add_argument("--anyway", action="store_true", help="go on after a no: the page and every table say so")
    parser.add_argument("--list", action="store_true", help="name the parts of this configuration")
    parser.add_argument("--fresh", action="store_true", help="ask again what said yes before")
    parser.add_argument(
        "--values", type=named_path, metavar="FILE", help="compare canaries with values that were recorded"
    )
    parser.add_argument(
        "--record", type=named_path, metavar="FILE", help="write what canaries measured, for --values elsewhere"
    )
    parser.add_argument("--threads", type=threads, help="CPU threads and decoding processes (default: all)")
    parser.add_argument(
        "--answer", type=number(0, 1e6), metavar="SECONDS", help=argparse.SUPPRESS
    )  # latency-wait of the head
    parser.epilog = "exit code: 0 go, 1 no-go (results/rehearsal/index.html says why), 2 bad input"


def run(args: argparse.Namespace, config: Config) -> int:
    alone(args, "list", "parts", "anyway", "fresh", "values", "record", "threads")
    rehearsal = Rehearsal(args, config)
    if args.answer is not None:
        return rehearsal.answer(args.answer)
    for name in args.parts:
        if name not in {**rehearsal.asks, "page": None}:
            raise unknown("part", name, [*rehearsal.asks, "page"])
    if args.list:
        print("\n".join(rehearsal.asks))
        return 0
    wanted = [name for name in args.parts if name != "page"] or ([] if args.parts else list(rehearsal.asks))
    if args.values:
        from petvr.rehearsal.reference import Recorded

        typed(Recorded, read_json(args.values, dict), args.values)
    if args.record:
        atomic.require_writable(args.record)
    for name in wanted:
        rehearsal.ask(name)
    if args.record:
        from petvr.rehearsal import reference
        from petvr.training.determinism import prepare_device
        from petvr.training.result_writer import hardware, package_versions, utc_now

        machine = hardware(prepare_device(None, None))
        packages = package_versions()
        where = f"{utc_now()}, {machine['cpu']}, torch {packages['torch']}, av {packages.get('av')}"
        count = reference.record_values(args.record, rehearsal.known_parts(), f"petvr rehearse --record, {where}")
        print(f"{args.record}: {count} canaries recorded")
    return 0 if args.parts and "page" not in args.parts else rehearsal.write_page()


class Rehearsal:
    """The parts of one configuration; `asks` in the order in which they are asked."""

    def __init__(self, args: argparse.Namespace, config: Config) -> None:
        self.args, self.config, self.layout = args, config, Layout(config.results)
        self.plan = planning.plan(config)
        self.folder = self.layout.rehearsal / "parts"
        self.lacking = availability.unavailable(config, self.plan)
        self.asks: dict[str, Callable[[Part], None]] = {}
        self.canaries = asked.canaries(config, self.plan)
        for name in asked.part_names(config, self.plan):
            kind, _, which = name.partition("-")
            ask = getattr(self, kind)
            self.asks[name] = functools.partial(ask, which) if which else ask

    @functools.cached_property
    def threads(self) -> int:
        from petvr.data.frames.build import cores

        return self.args.threads or cores()

    @functools.cached_property
    def device(self) -> Any:
        from petvr.training.determinism import prepare_device

        return prepare_device(None if self.config.device == "auto" else self.config.device, self.threads)

    def ask(self, name: str) -> Part:
        if self.args.fresh:
            (self.folder / f"{name}.json").unlink(missing_ok=True)
        part, now = parts.asked_part(self.folder, name, self.stands_on(name), self.asks[name])
        for finding in part.findings if now else ():
            print(f"{name}: {finding.asked} {finding.answer}: {finding.says}", flush=True)
        if not now:
            print(f"{name}: as before")
        return part

    def stands_on(self, name: str) -> object:
        """What the answers of a part depend on, as far as it can be told without asking."""
        kind, _, which = name.partition("-")
        if kind == "weights":
            return [_stamps(self.layout.weights(which)), self.config.weights.get(which)]
        if kind == "canary":
            canary = self.canary_of(which)
            files = [*canary.dataset.files("test"), *(canary.store / one for one in ("index.json", "frames.bin"))]
            stamps = [_stamp(file) for file in files]
            values = _stamp(self.args.values) if self.args.values else ""
            return [canary.spec.digest(), _stamps(canary.weights), stamps, values, str(self.config.device)]
        if kind == "shapes":
            runs = sorted(spec.digest() for spec in self.plan.runs.values())
            return [runs, self.config.micro_batch, self.config.device, os.environ.get("CUDA_VISIBLE_DEVICES", "")]
        return os.urandom(8).hex()  # a node's and a disk's state is asked every time

    def weights(self, backbone: str, part: Part) -> None:
        from petvr.rehearsal.weights import check_weights

        world = self.config.world
        seed = world.seed if world and backbone == "tiny" else None
        check_weights(part, backbone, self.layout.weights(backbone), self.config.weights.get(backbone), seed)

    def canary_of(self, name: str) -> Any:
        from petvr.rehearsal.canary import Canary

        config, dataset = self.config, self.canaries[name]
        spec = asked.canary_spec(config, self.plan, name)
        store, weights = catalogue.frame_store(config, spec), self.layout.weights(spec.backbone)
        tokenizers = {
            folder.parent.name: folder.parent
            for folder in sorted(self.layout.weights("x").parent.glob("*/tokenizer.json"))
            if folder.parent != weights
        }
        return Canary(
            spec=spec,
            dataset=catalogue.open_dataset(config, dataset),
            weights=weights,
            grid_store=store,
            own_store=self.layout.rehearsal / "frames" / store.relative_to(self.layout.results / "frames"),
            size=catalogue.image_size(config, spec.backbone),
            others=asked.other_readings(config, dataset),
            tokenizers=tokenizers,
        )

    def canary(self, name: str, part: Part) -> None:
        from petvr.clip import weights as clip_weights
        from petvr.rehearsal import canary, reference

        dataset = self.canaries[name]
        if dataset in self.lacking:
            part.add("can it be asked?", None, f"{dataset} cannot be had: {self.lacking[dataset].reason}")
            return
        singer = self.canary_of(name)
        changed = [
            key
            for key in ("sampler", "frames", "picture", "words", "similarity")
            if self._is_configured(singer.spec, key)
        ]
        digest = clip_weights.digest(singer.weights) if singer.weights.is_dir() else ""
        if self.args.values:
            expected = reference.recorded_reference(self.args.values, name, digest)
        elif self.config.world is not None:
            expected = reference.recorded_reference(
                reference.DEMO_VALUES, name, digest, self.world_of(dataset, singer.spec)
            )
        else:
            expected = None if changed else reference.printed_reference(dataset)
        if changed and self.config.world is None:
            part.add("as the paper does it?", None, f"the configuration sets recipe.{', recipe.'.join(changed)}")
        part.facts["world"] = self.world_of(dataset, singer.spec)
        canary.check_canary(part, singer, expected, self.device, self.threads)

    def world_of(self, dataset: str, spec: RunSpec) -> str:
        """Names a generated data set together with the rules it is read by; "" where it is real."""
        world, recipe = self.config.world, spec.recipe
        sizes = world.sizes.get(catalogue.folder_of(self.config, dataset)) if world else None
        rules = [recipe.sampler, recipe.frames, recipe.picture, recipe.words, recipe.similarity]
        return parts.digest_of([world.seed, sizes.model_dump(), rules]) if world and sizes else ""

    @staticmethod
    def _is_configured(spec: RunSpec, key: str) -> bool:
        source = spec.sources.get(f"recipe.{key}")
        return source is not None and source.origin == "config"

    def geometries(self) -> dict[str, ClipConfig]:
        from petvr.clip import config as geometry

        folders = {run.backbone: self.layout.weights(run.backbone) for run in self.plan.runs.values()}
        return {
            name: geometry.read_config(folder) if (folder / "config.json").exists() else geometry.geometry(name)
            for name, folder in folders.items()
        }

    def shapes(self, part: Part) -> None:
        from petvr.rehearsal import shapes

        runs = list(self.plan.runs.values())
        machine = shapes.machine_of(self.device, self.config.micro_batch, runs)
        shapes.rehearse_shapes(part, runs, self.geometries(), machine, self.layout.measured_steps)

    def node(self, kind: str, part: Part) -> None:
        from petvr.rehearsal import node

        wants_gpu = kind == "train" and self.config.world is None and self.config.device != "cpu"
        inside = "SLURM_JOB_ID" in os.environ
        node.check_node(
            part, kind, self.meeting, gpu=wants_gpu and (inside or self.config.device == "cuda"),
            tracking=self.config.tracking_uri, answered=inside,
        )  # fmt: skip

    @property
    def meeting(self) -> Path:
        return self.layout.rehearsal / "meeting"

    def answer(self, latency_wait: float) -> int:
        """On the head, as long as the process that started this one lives."""
        from petvr.rehearsal import node

        parent = os.getppid()
        node.answer_pings(self.meeting, lambda: os.getppid() == parent, latency_wait)
        return 0

    def room(self, part: Part) -> None:
        from petvr.costs import budget, steps
        from petvr.rehearsal.room import check_room

        check_room(part, asked.writings(self.config, self.plan))
        measured = steps.read_steps(self.layout.measured_steps)
        estimate = budget.estimate(self.plan, measured=measured)
        part.facts["hours"] = f"{estimate.total.gpu_hours:,.0f} GPU hours for {estimate.total.runs} runs"
        part.facts["hours stand on"] = estimate.assumptions[0]

    def known_parts(self) -> list[Part]:
        return [part for name in self.asks if (part := parts.read_part(self.folder, name)) is not None]

    def write_page(self) -> int:
        from petvr.rehearsal import node, page
        from petvr.training.result_writer import package_versions

        known = self.known_parts()
        for name in self.asks.keys() - {part.name for part in known}:
            part = Part(name)
            part.add(
                "was it asked?", False, "it left no answer", f"its log says why, or: petvr rehearse {shlex.quote(name)}"
            )
            known.append(part)
        nodes = [part for part in known if part.name.startswith("node-") and part.facts]
        if nodes and (unequal := node.unequal_packages(nodes, package_versions())):
            remedy = "let jobs use the same environment: submitit-setup, submitit-env in slurm/config.yaml"
            nodes[0].add("are the packages those of the workflow's machine?", False, "; ".join(unequal[:5]), remedy)
        anyway = self.args.anyway or self.config.rehearsal == "anyway"
        outcome = page.write_page(self.layout.rehearsal, known, synthetic=self.config.world is not None, anyway=anyway)
        for reason in outcome["refusals"]:
            print(f"no: {reason}")
        print(f"{self.layout.rehearsal / 'index.html'}: {page.headline(outcome)}")
        if outcome["go"] or anyway:
            return 0
        for part in known:
            if part.refusals:  # to be asked again by the next start
                (self.folder / f"{part.name}.json").unlink(missing_ok=True)
        return 1


def _stamp(path: Path) -> list[object]:
    """Size and time of change; what is not there yet has none."""
    try:
        facts = path.stat()
        return [str(path), facts.st_size, facts.st_mtime_ns]
    except OSError:
        return [str(path)]


def _stamps(folder: Path) -> list[object]:
    return [_stamp(folder / name) for name in ("config.json", "model.safetensors", "tokenizer.json")]
