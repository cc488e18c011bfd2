"""`petvr download msvd`: bring a data set's annotation files and videos; `--list` says where they come from."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from petvr import atomic
from petvr.config import Config
from petvr.data import catalogue, datasets
from petvr.data.download.source_state import SourceState
from petvr.errors import PetvrError, unknown

if TYPE_CHECKING:
    from petvr.data.download.dataset_folder import DatasetFolder, SourceReport


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
        "--wait", action="store_true", help="wait for another call on the same folder, rather than refuse"
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="the workflow's way: success as soon as there is something to work with, unless `missing` is strict",
    )


def run(args: argparse.Namespace, config: Config) -> int:
    if not args.dataset and not args.list:
        raise PetvrError(f"which data set? one of {', '.join(datasets.available())}")
    from petvr.data.download.dataset_folder import DatasetFolder

    folders = [
        DatasetFolder(
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
        for folder in folders:
            _print_sources(folder, args.fill)
        return 0
    if config.world is not None:
        raise PetvrError(f"this configuration uses a generated world: `petvr world {folders[0].name}` makes it")
    return _download(folders, args, config)


def _folders(names: list[str], config: Config) -> list[str]:
    """The folders of data sets that are named by themselves or by their folder; all of the papers' for no name."""
    known = {name: datasets.folder(name) for name in datasets.available()}
    for name in names:
        if name in config.custom_datasets:
            raise PetvrError(f"own.{name}: these videos are yours; there is nothing to download")
        if name not in known and name not in known.values():
            raise unknown("data set", name, {*known, *known.values()})
    return list(dict.fromkeys(known.get(name, name) for name in names or known))


def _download(folders: list[DatasetFolder], args: argparse.Namespace, config: Config) -> int:
    from petvr.data.download.progress import show_progress
    from petvr.data.download.session import DownloadOptions, DownloadSession
    from petvr.data.download.sources import BUSY, download_sources

    options = DownloadOptions(
        **config.download.model_dump(),
        annotations_only=args.annotations_only,
        optional=args.optional,
        fill=args.fill,
    )
    complete = usable = True
    for folder in folders:
        if args.wait:
            atomic.wait_until_free(folder.state / BUSY, folder.name)
        with show_progress() as progress:
            reports = download_sources(DownloadSession(folder, options, progress=progress))
        for report in reports:
            asked = not report.optional and not (args.annotations_only and report.gives == "videos")
            complete &= report.status.settled or not asked
        _print_reports(folder.name, reports)
        usable &= folder.any_video() and all(
            report.status.settled or report.optional for report in reports if report.gives == "annotations"
        )
    if not complete and usable and args.record and config.missing == "record":
        print("petvr: the manifest will say what is not there", file=sys.stderr)
        return 0
    return 0 if complete else 1


def _print_reports(name: str, reports: list[SourceReport]) -> None:
    """The sources of one fate together, with the reason and what to do below them."""
    keys_of: dict[tuple[SourceState, str, str], list[str]] = {}
    for report in reports:
        if report.status is SourceState.ABSENT and report.optional:
            continue
        keys_of.setdefault((report.status, report.reason, report.next), []).append(report.key)
    for (status, reason, next_step), keys in keys_of.items():
        print(f"{name}: {status.english}: {', '.join(keys)}")
        for text in filter(None, (reason, next_step and f"next: {next_step}")):
            print(f"  {text}")


def _print_sources(folder: DatasetFolder, fill: bool) -> None:
    from petvr.data.download.dataset_folder import inspect_source, name_of

    print(f"{folder.name}: annotation files in {folder.root}, videos in {folder.videos}")
    remarks: dict[str, None] = {}
    for source in folder.sources:
        report = inspect_source(folder, source, fill)
        size = next((mirror.size for mirror in source.mirrors if mirror.size), source.about_bytes)
        facts = [text for text in ("optional" if source.optional else "", _size(size)) if text]
        print(f"  {source.key}: {report.status.english}" + (f" ({', '.join(facts)})" if facts else ""))
        if report.status is not SourceState.ABSENT:
            for text in filter(None, (report.reason, report.next and f"next: {report.next}")):
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
