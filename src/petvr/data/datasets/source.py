"""Where a data set's files come from, as each data set's file declares it (facts: docs/data_policy.md).

    class Msvd(Dataset):
        sources = (
            DownloadSource("test_list.txt", "annotations", (Mirror(CE + "test_list.txt", sha256="95ea..."),)),
            DownloadSource("videos", "videos", (Mirror(UTEXAS + "YouTubeClips.tar", "tar"),), about_bytes=17 * 10**8),
        )

This is a declaration only: `petvr.data.download` acts on it, `petvr download --list` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from petvr.errors import PetvrError, unknown

Gives = Literal["annotations", "videos"]
Kind = Literal["file", "zip", "tar", "links", "youtube"]


@dataclass(frozen=True)
class Login:
    """A host that asks for a name and password: two environment variables, else the netrc entry of `machine`."""

    machine: str
    user_variable: str
    password_variable: str


@dataclass(frozen=True)
class Mirror:
    """One place that offers a source, and the shape it has there.

    url: the file or archive (kinds file, zip, tar); "" for links and youtube.
    kind: file     the bytes are the file
          zip, tar an archive (tar: any compression; `parts` are the addresses of what follows the first part of a
                   stream that was cut into pieces). Wanted members are laid flat under their own names.
          links    one address per video, from `Dataset.links(source key)`
          youtube  one YouTube video each, from `Dataset.youtube(video)`
    sha256, md5, size: of the file at `url`, in bytes, where they are published; None is unknown. They are not
          meaningful for an archive with `parts`, links and youtube.
    """

    url: str = ""
    kind: Kind = "file"
    parts: tuple[str, ...] = ()
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    login: Login | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise unknown("kind of a mirror", self.kind, get_args(Kind))
        if bool(self.url) != (self.kind in ("file", "zip", "tar")):
            raise PetvrError(f"a mirror of kind '{self.kind}' {'has no' if self.url else 'needs an'} address")
        if self.parts and (self.kind != "tar" or self.sha256 or self.md5 or self.size):
            raise PetvrError(f"{self.url}: only a tar without a published size or checksum may have parts")


@dataclass(frozen=True)
class DownloadSource:
    """Something a data set needs: annotation files directly in its root, or videos in its folder of videos.

    key: unique within the data set's folder; for a single annotation file its official name.
    mirrors: in the order they are tried; none means that only a person can get it.
    files: the annotation files it gives, () means the one named by `key`. Videos: ().
    by_hand: what a person has to do where no mirror works (request form, licence), and why; shown with every failure.
    pages: web pages to look at that petvr cannot download from by itself.
    about_bytes: size of what is downloaded, where no mirror publishes one; used to check for disk space.
    optional: no split needs it; brought only on request (`petvr download --optional`).
    """

    key: str
    gives: Gives
    mirrors: tuple[Mirror, ...] = ()
    files: tuple[str, ...] = ()
    by_hand: str = ""
    pages: tuple[str, ...] = ()
    about_bytes: int | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if self.gives not in get_args(Gives):
            raise unknown("kind of files", self.gives, get_args(Gives), f"source '{self.key}'")
        if self.gives == "annotations" and any(mirror.kind in ("links", "youtube") for mirror in self.mirrors):
            raise PetvrError(f"source '{self.key}': links and youtube give videos")
        if self.gives == "videos" and self.files:
            raise PetvrError(f"source '{self.key}': videos are named by the annotations, not by `files`")
        if not self.mirrors and not self.by_hand:
            raise PetvrError(f"source '{self.key}' has no mirror and does not say what to do by hand")

    @property
    def names(self) -> tuple[str, ...]:
        """The annotation files this gives; () for videos."""
        return () if self.gives == "videos" else self.files or (self.key,)


@dataclass(frozen=True)
class Watch:
    """A YouTube video, and the seconds of it that the data set's clip holds (None, None: all of it)."""

    id: str
    start: float | None = None
    end: float | None = None
