"""Damaged, cut-off and mistaken files: a reason, or a note and right numbers; never a wrong frame in silence."""

import frames_zoo as zoo
import numpy as np
import pytest

from petvr.data.frames.decode import decode_frames, read_frames
from petvr.data.frames.matroska_checks import differing_checksum
from petvr.data.frames.probe import Unreadable, probe
from petvr.data.frames.samplers import SAMPLERS, pick
from petvr.data.frames.truncation import Packet, damaged_pts, last_secure_pts, reaches_end

FRAMES = 100
B3 = {"codec": "libx264", "b_frames": 3, "options": {"x264-params": "b-adapt=0:log-level=none"}}
EXTRA = {
    "dvd.vob": {"codec": "mpeg2video", "b_frames": 2, "format": "vob"},
    "h265.mkv": {"codec": "libx265", "options": {"x265-params": "log-level=none"}, "b_frames": 3},
    "b.flv": B3,
    "b.mkv": B3,
    "b.mp4": {**B3, "mux": {"movflags": "faststart"}},
    "xvid_b.mkv": {"codec": "mpeg4", "b_frames": 3},
    "raw.m1v": {"codec": "mpeg1video", "b_frames": 2, "format": "mpeg1video"},
    "loop.gif": {"codec": "gif", "pixels": "rgb8"},
}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")

    def file(name):
        path = folder / name
        made = {**zoo.CONTAINERS, **EXTRA}
        return path if path.exists() else zoo.write(path, **{"frames": FRAMES, **made[name]})

    return file


def all_of(n_frames, fps):
    return np.arange(n_frames)


def numbers(found):
    return [zoo.read(picture) for picture in found.pixels]


def cut_off(path, source, keep, unit=1):
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) // unit * unit])
    return path


KNOW = ["h264.avi", "xvid_b.avi", "h264.mkv", "vp8.webm", "vp9.webm", "h264.flv", "flv1.flv", "wmv2.wmv"]
SEE = ["fragments.mp4", "h264.ts", "interlaced.mts", "mpeg2.ts", "dvd.vob", "loop.gif"]


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOW + SEE)
def test_half_a_file_is_truncated_whichever_frames_are_wanted(make, tmp_path, name):
    """KNOW how long they should be; in the others (SEE) only the torn end shows it."""
    path = cut_off(tmp_path / name, make(name), 0.7)
    for sampler in SAMPLERS:
        with pytest.raises(Unreadable, match="truncated"):
            read_frames(path, lambda n, fps, s=sampler: pick(s, n_frames=n, fps=fps, frames=4))


@pytest.mark.parametrize("keep", [0.91, 0.93, 0.95, 0.97, 0.99])
@pytest.mark.parametrize("name", ["b.flv", "b.mkv", "b.mp4", "h264.avi", "xvid_b.avi", "h265.mkv", "xvid_b.mkv"])
def test_a_little_missing_at_the_end_moves_no_frame(make, tmp_path, name, keep):
    """Pictures are stored out of order: the last ones of a cut-off file may lack those before them."""
    path = cut_off(tmp_path / name, make(name), keep)
    try:
        found = read_frames(path, all_of)
    except Unreadable as error:
        assert "truncated" in str(error) or "damaged" in str(error)
        return
    assert numbers(found) == list(range(found.n_frames))
    assert found.n_frames >= FRAMES - 2 or any(word in found.note for word in ("ends", "truncated", "not there"))


def test_a_stream_without_container_that_ends_in_a_damaged_picture(make, tmp_path):
    """Whichever frames are wanted: a file that seems to be half as long would have them in other places."""
    path = cut_off(tmp_path / "raw.m1v", make("raw.m1v"), 0.5)
    with pytest.raises(Unreadable, match="truncated: damaged from frame"):
        read_frames(path, lambda n, fps: np.array([0, 10]))


def test_a_transport_stream_cut_between_packets_or_filled_up_with_zeros(make, tmp_path):
    whole = make("h264.ts").read_bytes()
    (tmp_path / "sparse.ts").write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    with pytest.raises(Unreadable, match="does not end in a packet"):
        read_frames(tmp_path / "sparse.ts", all_of)
    # nothing in such a stream says how long it should be: what there is has its right numbers
    found = read_frames(cut_off(tmp_path / "even.ts", make("h264.ts"), 0.5, unit=188), all_of)
    assert numbers(found) == list(range(found.n_frames)) and found.n_frames < FRAMES


@pytest.mark.parametrize(
    "name, unit", [("h264.ts", 188), ("mpeg2.ts", 188), ("interlaced.mts", 192), ("dvd.vob", 2048)]
)
def test_a_stream_joined_while_it_ran_begins_with_its_first_whole_picture(make, tmp_path, name, unit):
    data = make(name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[int(len(data) * 0.4) // unit * unit :])
    found = read_frames(path, all_of)
    assert numbers(found) == list(range(FRAMES - found.n_frames, FRAMES)) and 0 < FRAMES - found.n_frames < 70


@pytest.mark.parametrize("name", ["h265.mkv", "open_gop.mp4", "h264.mov", "vp9.webm"])
@pytest.mark.parametrize("to", ["mp4", "mkv"])
def test_cut_without_reencoding(make, tmp_path, name, to):
    """What is shown begins where decoding can begin; pictures that refer to what was cut away are never counted."""
    source = make(name)
    path = zoo.cut(source, tmp_path / f"cut.{to}", 1.5)
    found = read_frames(path, all_of)
    assert numbers(found) == list(range(FRAMES - found.n_frames, FRAMES)) and found.n_frames >= 50, found.note
    later = read_frames(path, lambda n, fps: np.array([n - 20, n - 1]))
    assert numbers(later) == [FRAMES - 20, FRAMES - 1] and later.n_frames == found.n_frames


@pytest.mark.parametrize("name", ["h264.mkv", "h264.ts", "mpeg2.ts", "h264.avi", "h264.flv", "h264.mp4"])
def test_packets_lost_in_the_middle_are_refused_or_noted(make, tmp_path, name):
    """All later frames have moved up by those that are lost; that is said, and such a file is not decord's."""
    data = make(name).read_bytes()
    for start, size in ((0.5, 0.02), (0.4, 0.06), (0.7, 0.05)):
        for zeros in (True, False):
            at, length = int(len(data) * start), int(len(data) * size)
            path = tmp_path / name
            path.write_bytes(data[:at] + (bytes(length) if zeros else b"") + data[at + length :])
            try:
                found = read_frames(path, lambda n, fps: np.arange(0, n, 9))
            except Unreadable as error:
                assert "damaged" in error.reason or "truncated" in error.reason or "not a readable" in error.reason
                continue
            assert numbers(found) == found.indices.tolist() or "lost" in found.note or "not there" in found.note


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv"])
def test_what_follows_damage_up_to_the_next_keyframe_is_refused(make, tmp_path, name):
    """Decoders conceal: only the damaged picture is marked, those made from it are not."""
    path, source = tmp_path / name, make(name)
    facts = probe(source)
    data = source.read_bytes()
    import av

    with av.open(str(source)) as container:
        packets = [bytes(p) for p in container.demux(video=0) if p.size]
    key = next(i for i, (_, is_key) in enumerate(facts.order) if is_key and i > 20)
    place = data.index(packets[key]) + len(packets[key]) // 3
    path.write_bytes(data[:place] + bytes(len(packets[key]) // 3) + data[place + len(packets[key]) // 3 :])
    behind = key + 8  # in the same group of pictures
    with pytest.raises(Unreadable, match="damaged"):
        read_frames(path, lambda n, fps: np.array([behind]), use_decord=False)
    for use_decord in (True, False):
        assert [zoo.read(picture) for picture in decode_frames(path, [0, 9], use_decord=use_decord)] == [0, 9]


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG picture, not a video"),
        (b"RIFF\x20\x00\x00\x00WEBPVP8 " + bytes(40), "a WebP picture, not a video"),
        (b"GIF89a" + bytes(99), "the end mark of the GIF is missing"),
        (b"PK\x03\x04" + bytes(99), "a zip archive, not a video"),
        (b'{"error": "quota"}', "JSON text, not a video"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not a video"),
        (b"\xef\xbb\xbf\n<HTML><body>", "an HTML page"),
        (b"ffconcat version 1.0\nfile a.mp4\n", "a playlist, not a video"),
        (b"1\n00:00:00,000 --> 00:00:01,000\nhello\n", "not a readable video"),
    ],
)
def test_what_else_is_found_in_a_videos_place(tmp_path, content, reason):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=reason):
        read_frames(path, all_of)


def test_a_real_picture_and_a_playlist_are_no_videos(make, tmp_path):
    """FFmpeg decodes both: a picture as one frame, a playlist by opening what it names."""
    from PIL import Image

    Image.fromarray(zoo.draw(5, 96, 64)).save(tmp_path / "a.tif")
    (tmp_path / "a.m3u8").write_text(f"\n\n#EXTM3U\n#EXTINF:4,\n{make('h264.ts')}\n#EXT-X-ENDLIST\n")
    for name in ("a.tif", "a.m3u8"):
        with pytest.raises(Unreadable, match="not a video"):
            read_frames(tmp_path / name, all_of)


def packets(*rows):
    return [Packet(key, False, False, pts, dts) for pts, dts, key in rows]


def test_secure_end_by_hand():
    # I0 P3 B1 B2 P6 B4 and then the cut: 5 is missing, so 6 would pass for 5
    rows = [(0, -1, True), (3, 0, False), (1, 1, False), (2, 2, False), (6, 3, False), (4, 4, False)]
    assert last_secure_pts(packets(*rows)) == 4
    assert last_secure_pts(packets(*rows, (5, 5, False))) is None
    assert (
        last_secure_pts(packets((0, 0, True), (1, 1, False), (2, 2, False), (30, 30, False))) is None
    )  # a pause, no cut


def test_how_far_damage_spreads_by_hand():
    order = [(0, True), (3, False), (1, False), (2, False), (6, True), (4, False), (5, False), (8, False), (7, False)]
    assert damaged_pts(order, {3}) == {3, 1, 2, 4, 5}  # 4 and 5 follow keyframe 6 in the file, but look back at 3 too
    assert damaged_pts(order, {6}) == {6, 4, 5, 8, 7}
    assert damaged_pts(order, set()) == set()


def test_filling_the_announced_time_by_hand():
    even = [i / 10 for i in range(100)]
    assert reaches_end(even, 10, 10.0) and reaches_end(even[:92], 10, 10.0) and not reaches_end(even[:88], 10, 10.0)
    assert not reaches_end(even[:30] + even[45:], 10, 10.0)  # a hole of 1.6 s
    assert reaches_end(even[::3], 10, 10.0)  # a third of the rate, evenly
    assert reaches_end([time + 0.9 for time in even], 10, 10.9) and not reaches_end([t + 5 for t in even], 10, 15.0)
    assert reaches_end([0.0], 25, 0.04)


@pytest.mark.slow
def test_a_flipped_bit_that_no_decoder_sees_is_told_by_the_checksum_of_its_cluster(make, tmp_path):
    """Of H.265 that FFmpeg's muxer wrote: with WebM, and with MP4, the same bit shows another picture."""
    content = make("h265.mkv").read_bytes()
    last = content.rindex(b"\x1f\x43\xb6\x75")  # its last cluster
    untold = []
    for place in range(last + 60, len(content) - 200, 40):
        damaged = tmp_path / "damaged.mkv"
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(Unreadable, match="damaged"):
            read_frames(damaged, lambda n, fps: np.array([0]))
        untold += [place] if "checksum" in _reason(damaged) else []
    assert untold, "some of them decode without a word"


def test_a_matroska_element_longer_than_any_file_ends_the_comparison(make, tmp_path):
    path = tmp_path / "damaged.mkv"
    path.write_bytes(make("h264.mkv").read_bytes() + b"\xec\x01" + b"\x7f" * 7)  # empty space of 2**55 bytes
    assert differing_checksum(probe(path)) == ""


def _reason(path):
    with pytest.raises(Unreadable) as caught:
        read_frames(path, lambda n, fps: np.array([0]))
    return str(caught.value)
