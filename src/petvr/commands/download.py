"""`petvr download msvd`: bring a data set's annotation files and videos; `--list` says where they come from."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from petvr.config import Config
from petvr.data import catalogue, datasets
from petvr.errors import PetvrError, unknown

if TYPE_CHECKING:
    from petvr.data.download.place import Place, State


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Bring what is not there of a data set, from the first of its mirrors that works. A killed call continues\n"
        "where it stopped; what could not be had for now is tried again by the next one. Nothing is downloaded or\n"
        "written where `paths` in the configuration names a folder."
    )
    parser.epilog = (
        "Names and passwords (LSMDC) are read from environment variables or ~/.netrc, and from nowhere else.\n"
        "YouTube's videos need the extra: pip install 'petvr[youtube]'. Settings: `download` in config.yaml.\n"
        "exit code: 0 everything is there, 1 something is not, 2 bad input"
    )
    parser.add_argument("dataset", nargs="*", help=f"{', '.join(datasets.available())} (with --list: none means all)")
    parser.add_argument("--list", action="store_true", help="print every source with its state and addresses, and stop")
    parser.add_argument("--annotations-only", action="store_true", help="leave the videos")
    parser.add_argument("--optional", action="store_true", help="also what no split needs")
    parser.add_argument(
        "--fill", action="store_true", help="also add videos to a folder that somebody else filled in part"
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="the workflow's way: success as soon as there is something to work with, unless `missing` is strict",
    )


def run(args: argparse.Namespace, config: Config) -> int:
    if not args.dataset and not args.list:
        raise PetvrError(f"which data set? one of {', '.join(datasets.available())}")
    from petvr.data.download.place import Place

    places = [
        Place(
            folder,
            [catalogue.open_dataset(config, name) for name in catalogue.datasets_in(config, folder)],
            config.folder(folder),
            config.videos(folder),
            config.data / folder,
            config.given(folder),
        )
        for folder in _folders(args.dataset, config)
    ]
    if args.list:
        for one in places:
            _list(one, args.fill)
        return 0
    if config.world is not None:
        raise PetvrError(f"this configuration uses a generated world: `petvr world {places[0].folder}` makes it")
    return _bring(places, args, config)


def _folders(names: list[str], config: Config) -> list[str]:
    """The folders of data sets that are named by themselves or by their folder; all of the papers' for no name."""
    known = {name: datasets.folder(name) for name in datasets.available()}
    for name in names:
        if name in config.custom_datasets:
            raise PetvrError(f"own.{name}: these videos are yours; there is nothing to download")
        if name not in known and name not in known.values():
            raise unknown("data set", name, {*known, *known.values()})
    return list(dict.fromkeys(known.get(name, name) for name in names or known))


def _bring(places: list[Place], args: argparse.Namespace, config: Config) -> int:
    from petvr.data.download import bring, progress
    from petvr.data.download.place import GOOD

    wishes = bring.Wishes(
        **config.download.model_dump(),
        annotations_only=args.annotations_only,
        optional=args.optional,
        fill=args.fill,
    )
    complete = usable = True
    for place in places:
        with progress.watching() as watch:
            states = bring.bring(place, wishes, watch=watch)
        for state in states:
            asked = not state.optional and not (args.annotations_only and state.gives == "videos")
            complete &= state.status in GOOD or not asked
        _tell(place.folder, states)
        usable &= place.any_video() and all(
            state.status in GOOD or state.optional for state in states if state.gives == "annotations"
        )
    if not complete and usable and args.record and config.missing == "record":
        print("petvr: the manifest will say what is not there", file=sys.stderr)
        return 0
    return 0 if complete else 1


def _tell(folder: str, states: list[State]) -> None:
    """The sources of one fate together, with the reason and what to do below them."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for state in states:
        if state.status == "absent" and state.optional:
            continue
        alike.setdefault((state.status, state.reason, state.next), []).append(state.key)
    for (status, reason, following), keys in alike.items():
        print(f"{folder}: {status}: {', '.join(keys)}")
        for text in filter(None, (reason, following and f"next: {following}")):
            print(f"  {text}")


def _list(place: Place, fill: bool) -> None:
    from petvr.data.download.place import look, name_of

    print(f"{place.folder}: annotation files in {place.root}, videos in {place.videos}")
    remarks: dict[str, None] = {}
    for source in place.sources:
        state = look(place, source, fill)
        size = next((mirror.size for mirror in source.mirrors if mirror.size), source.about_bytes)
        facts = [text for text in ("optional" if source.optional else "", _size(size)) if text]
        print(f"  {source.key}: {state.status}" + (f" ({', '.join(facts)})" if facts else ""))
        if state.status != "absent":
            for text in filter(None, (state.reason, state.next and f"next: {state.next}")):
                print(f"    {text}")
        for number, mirror in enumerate(source.mirrors, 1):
            login = f", login at {mirror.login.machine}" if mirror.login else ""
            parts = f", {len(mirror.parts) + 1} parts" if mirror.parts else ""
            address = f" {name_of(mirror)}" if mirror.url else ""
            note = f" ({mirror.note})" if mirror.note else ""
            print(f"    {number}. {mirror.kind}{parts}{login}{address}{note}")
        remarks |= dict.fromkeys(text for text in (source.by_hand and f"by hand: {source.by_hand}",) if text)
        remarks |= dict.fromkeys(f"page: {page}" for page in source.pages)
    for text in remarks:
        print(f"  {text}")


def _size(count: int | None) -> str:
    if not count:
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count:,} bytes"
