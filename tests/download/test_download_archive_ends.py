"""Cut and damaged archives: refused, or whole where nothing of them is lacking, whatever Python's own readers make of
them. The archives are made by the standard library and read by petvr's code alone.
"""

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from small_archives import attempt, tarred, zipped

BLOCK = tarfile.BLOCKSIZE
LONG = "a/" * 60 + "c" * 150 + ".mp4"
NOISE = random.Random("noise of a video").randbytes
CLIPS = {"MSRVTT/all/video0.mp4": NOISE(5_000), LONG: NOISE(700), "README.md": b"text", "empty.mp4": b""}
WANTED = {"video0.mp4": CLIPS["MSRVTT/all/video0.mp4"], LONG.rpartition("/")[2]: CLIPS[LONG], "empty.mp4": b""}


class NoSeek(io.RawIOBase):
    """A pipe: zipfile then writes sizes and sums behind each content."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.data += data
        return len(data)


def zip_of(method=zipfile.ZIP_DEFLATED, piped=False, zip64=False):
    stream = NoSeek() if piped else io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in CLIPS.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=zip64) as member:
                member.write(data)
        archive.comment = b"a comment"
    return bytes(stream.data) if piped else stream.getvalue()


def with_64_bit_end(data):
    """The same zip with its end told in 64 bits, as an archive of more than 4 GiB or 65,535 members has it."""
    at = data.rindex(b"PK\5\6")
    _, _, _, here, count, length, start, _ = struct.unpack_from("<4s4H2LH", data, at)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, here, count, length, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    return data[:at] + record + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *[0xFFFF] * 2, *[2**32 - 1] * 2, 0)


def tar_of(form):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, data in CLIPS.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def in_pieces(compress, data):
    """As pigz, pbzip2 and `cat` make them: several packed streams one after the other."""
    return b"".join(compress(data[at : at + 1500]) for at in range(0, len(data), 1500))


PAX, GNU = tar_of(tarfile.PAX_FORMAT), tar_of(tarfile.GNU_FORMAT)
TARS = {"tar of pax": PAX, "tar of GNU": GNU}
PACKED = {
    "gz": gzip.compress(PAX),
    "bz2": bz2.compress(GNU),
    "xz": lzma.compress(PAX),
    "gz in pieces": in_pieces(gzip.compress, GNU),
    "bz2 in pieces": in_pieces(bz2.compress, PAX),
    "xz in pieces": in_pieces(lzma.compress, GNU),
}
ZIPS = {
    "zip": zip_of(),
    "zip, stored": zip_of(zipfile.ZIP_STORED),
    "zip, bzip2": zip_of(zipfile.ZIP_BZIP2),
    "zip, piped": zip_of(piped=True),
    "zip, 64 bits in members": zip_of(zip64=True),
    "zip, 64 bits at the end": with_64_bit_end(zip_of()),
}
ALL = {**TARS, **PACKED, **ZIPS}


def outcome(name, data):
    """What arrives of it; None where it was refused, and then nothing is in the target."""
    with tempfile.TemporaryDirectory() as folder:
        return attempt("zip" if name.startswith("zip") else "tar", data, Path(folder))


def interesting(data):
    """Every edge of a block and its neighbours, the first and last bytes, and some in between."""
    size = len(data)
    edges = {at + more for at in range(0, size, BLOCK) for more in (-1, 0, 1)}
    drawn = random.Random(f"cuts of {size}").sample(range(size), 25)
    return sorted(at for at in {*edges, *range(24), *range(size - 40, size), *drawn} if 0 <= at < size)


@pytest.mark.parametrize("name", ALL)
def test_every_kind_of_archive_is_read(name):
    assert outcome(name, ALL[name]) == WANTED


@pytest.mark.parametrize("name", [*PACKED, *ZIPS])
def test_a_packed_archive_that_is_cut_anywhere_is_refused(name):
    taken = [cut for cut in interesting(ALL[name]) if outcome(name, ALL[name][:cut]) is not None]
    if "pieces" in name:  # between two pieces of the zeros at the end nothing is lacking
        assert all(outcome(name, ALL[name][:cut]) == WANTED for cut in taken) and len(taken) < 5
    else:
        assert taken == []


@pytest.mark.parametrize("name", TARS)
def test_a_tar_that_is_cut_anywhere_is_refused_until_a_block_of_zeros_says_that_it_ends(name):
    data = TARS[name]
    end = (len(data.rstrip(b"\0")) + BLOCK - 1) // BLOCK * BLOCK  # its last member is empty: what is there is a header
    for cut in interesting(data):
        assert outcome(name, data[:cut]) == (WANTED if cut >= end + BLOCK else None), cut


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_without_an_end_is_refused_also_where_its_compression_ends_well(compress):
    members = GNU.rstrip(b"\0") + bytes(-len(GNU.rstrip(b"\0")) % BLOCK)
    assert outcome("tar", compress(members)) is None
    assert outcome("tar", compress(members + bytes(BLOCK))) == WANTED


@pytest.mark.parametrize("name", ALL)
def test_what_follows_the_end_is_told(name):
    for more in (b"x", ALL[name], NOISE(3_000), b"\0" * 600 + b"x"):
        assert outcome(name, ALL[name] + more) is None
    if name in PACKED:
        assert outcome(name, ALL[name] + bytes(5_000)) == WANTED  # a tape's padding


def outside_contents(name):
    """The places of headers, tables and ends; of a tar's zeros, which are most of it, only some."""
    data = ALL[name]
    if name in PACKED:
        return [*range(40), *range(len(data) - 60, len(data))]
    contents = [(data.find(content), len(content)) for content in CLIPS.values() if content]
    if name in TARS:  # names of more than 100 bytes stand in a content of their own
        contents.append((data.index(LONG.encode()) - 10, len(LONG) + 12))
    return [
        at
        for at, byte in enumerate(data)
        if (byte or at % 16 == 0) and not any(start <= at < start + size for start, size in contents if start >= 0)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_damaged_byte_is_refused_or_changes_nothing(name):
    """In a plain tar only the headers hold a sum: its contents are left out, long names too."""
    data, drawn = ALL[name], random.Random(f"bytes of {name}")
    places = outside_contents(name)
    places = drawn.sample(places, min(len(places), 150))
    if name not in TARS:
        places += drawn.sample(range(len(data)), 20)
    for at in places:
        broken = bytearray(data)
        broken[at] ^= drawn.randrange(1, 256)
        assert outcome(name, bytes(broken)) in (None, WANTED), at


def header(kind, size):
    info = tarfile.TarInfo("././@Name")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


NAMES = [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE]


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("size", [2 << 20, 5 << 30, 1 << 70])
def test_a_name_of_gigabytes_is_not_read_into_memory(tmp_path, kind, size):
    bomb = gzip.compress(header(kind, size) + bytes(20 << 20))
    tracemalloc.start()
    assert outcome("tar", bomb) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("size", ["9" * 5_000, "-1", "0x10", "1e3", "", str(1 << 62)])
def test_a_size_that_no_member_can_have_is_refused(size):
    record = _pax_record("size", size)
    data = header(tarfile.XHDTYPE, len(record)) + record + bytes(-len(record) % BLOCK)
    assert outcome("tar", data + tarred({"v.mp4": b"x" * 300})) is None


def _pax_record(key, value):
    rest = f" {key}={value}\n"
    length = len(rest)
    while len(f"{length}{rest}") != length:
        length = len(f"{length}{rest}")
    return f"{length}{rest}".encode()


@pytest.mark.parametrize("record", [b"0 a=b\n", b"99 a=b\n", b"6 a=b", b"4 ab\n", b"a=b\n", b"7 a=b\nx", b"\0" * 10])
def test_an_extended_header_that_cannot_be_read_is_refused(record):
    data = header(tarfile.XHDTYPE, len(record)) + record + bytes(-len(record) % BLOCK)
    assert outcome("tar", data + tarred({"v.mp4": b"x"})) is None


def test_members_with_holes_are_refused_also_where_only_their_attributes_say_so():
    info = tarfile.TarInfo("v.mp4")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    assert outcome("tar", tarred([(info, b"x" * 600)])) is None


def test_an_xz_that_asks_for_gigabytes_of_memory_is_refused():
    data = bytearray(lzma.compress(PAX))
    size = (data[12] + 1) * 4  # of the block's header, whose byte 4 says how far back it refers
    data[16] = 40  # 4 GiB
    data[12 + size - 4 : 12 + size] = zlib.crc32(bytes(data[12 : 12 + size - 4])).to_bytes(4, "little")
    assert outcome("xz", bytes(data)) is None


@pytest.mark.parametrize("count", [5, 65_000, 1 << 40, (1 << 64) - 1])
def test_a_zip_that_lists_more_members_than_it_has_is_refused(count):
    data = bytearray(with_64_bit_end(zip_of()))
    at = data.rindex(b"PK\6\6")
    struct.pack_into("<2Q", data, at + 24, count, count)
    assert outcome("zip", bytes(data)) is None


@pytest.mark.parametrize("offset", [1 << 31, 1 << 63, (1 << 64) - 1])
def test_a_zip_whose_end_points_outside_the_file_is_refused(offset):
    for mark, at in ((b"PK\6\6", 48), (b"PK\6\7", 8)):
        data = bytearray(with_64_bit_end(zip_of()))
        struct.pack_into("<Q", data, data.rindex(mark) + at, offset)
        assert outcome("zip", bytes(data)) is None


def test_members_of_a_zip_that_share_their_bytes_are_refused():
    """The way of bombs that list one content a thousand times: here the second lies within the first."""
    inner = zipped({"b.mp4": NOISE(600)}, zipfile.ZIP_STORED)
    outer = zipped({"a.mp4": inner[: inner.index(b"PK\1\2")]}, zipfile.ZIP_STORED)
    entries = bytearray(outer[outer.index(b"PK\1\2") : outer.index(b"PK\5\6")])
    second = bytearray(inner[inner.index(b"PK\1\2") : inner.index(b"PK\5\6")])
    struct.pack_into("<L", second, 42, 30 + len("a.mp4"))  # where it begins
    start = outer.index(b"PK\1\2")
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(entries) + len(second), start, 0)
    assert outcome("zip", outer[:start] + entries + second + end) is None


@pytest.mark.parametrize("fields", [[8], [10], [8, 10], [12], [16]])  # members here and in all, length, place
@pytest.mark.parametrize("more", [-1, 1])
def test_a_zip_whose_end_does_not_fit_its_table_is_refused(fields, more):
    data = bytearray(zip_of())
    for field in fields:
        data[data.rindex(b"PK\5\6") + field] += more
    assert outcome("zip", bytes(data)) is None


def test_a_video_that_a_zip_calls_a_folder_is_not_left_out():
    data = bytearray(zip_of())
    struct.pack_into("<H", data, data.rindex(b"PK\1\2") + 40, 0o040755)  # the last member, which is empty
    assert outcome("zip", bytes(data)) is None


def test_a_zip_of_several_volumes_is_refused():
    data = bytearray(zip_of())
    struct.pack_into("<H", data, data.rindex(b"PK\5\6") + 4, 1)
    assert outcome("zip", bytes(data)) is None
