"""Real faults: a full disk, a read-only one, a limit on files; and what was damaged afterwards."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "training"))
import training_bench as tiny

sys.path.insert(0, str(Path(__file__).parent / "frames"))
import frames_zoo as zoo

from petvr import atomic
from petvr.clip import weights
from petvr.commands import verify
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.result import Result
from petvr.status import RunState, run_status

SPEC = tiny.spec("lora", epochs=2)


@pytest.fixture
def disk(tmp_path):
    """A folder on a disk of its own; `disk.room(kib)` leaves so much free."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]).returncode:
        pytest.skip("only root may mount a small disk")

    def remount(options):
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

    def room(kib):
        used = os.statvfs(folder)
        remount(f"size={(used.f_blocks - used.f_bfree) * used.f_frsize // 1024 + kib}k")

    folder_with_room = type("Disk", (), {"path": folder, "room": staticmethod(room), "remount": staticmethod(remount)})
    yield folder_with_room
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("kib", [4, 16, 64, 256])
def test_on_a_full_disk_a_run_ends_in_one_line_and_continues_when_there_is_room(disk, tmp_path, kib):
    options = tiny.everything(tmp_path) | {
        "out": disk.path / "out",
        "state": disk.path / "state",
        "checkpoint_steps": 2,
    }
    disk.room(kib)
    try:
        tiny.train(SPEC, **options)
    except PetvrError as error:
        assert "No space left on device" in str(error) and "\n" not in str(error)
        kept = "the trained state is kept" in str(error)
    else:
        kept = True
    assert not list(disk.path.rglob("*.part")), "no half file stays in the way"
    disk.remount("size=16m")
    result = tiny.train(SPEC, **options)
    assert not kept or result.cost.resumed or not (disk.path / "state").exists()
    whole = tiny.train(SPEC, **(tiny.arguments(tmp_path) | {"out": tmp_path / "out", "state": tmp_path / "state"}))
    assert result.evaluations == whole.evaluations, "nothing of it was lost or changed"


@pytest.fixture
def quota(tmp_path):
    """A folder whose owner may write so many KiB: `quota.room(kib)`, None for any number."""
    image, top = tmp_path / "image", tmp_path / "mounted"
    folder = top / "home"
    top.mkdir()
    with open(image, "wb") as stream:
        stream.truncate(2**27)
    calls = (
        ["mkfs.btrfs", "-q", "--mixed", image],
        ["mount", "-o", "loop", image, top],
        ["btrfs", "quota", "enable", top],
    )
    try:
        for call in (*calls, ["btrfs", "subvolume", "create", folder]):
            subprocess.run(call, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(
            "needs root, btrfs-progs and a kernel with btrfs: a quota of another kind is not to be had everywhere"
        )

    def room(kib):
        subprocess.run(["sync", "-f", folder], check=True)
        shown = subprocess.run(
            ["btrfs", "qgroup", "show", "--raw", "-f", folder], check=True, capture_output=True, text=True
        )
        used = int(shown.stdout.splitlines()[-1].split()[1])
        most = "none" if kib is None else str(used + kib * 1024)
        subprocess.run(["btrfs", "qgroup", "limit", most, folder], check=True)

    yield type("Quota", (), {"path": folder, "room": staticmethod(room)})
    subprocess.run(["umount", "-l", top], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("kib", [16, 64])
def test_over_a_quota_a_run_ends_in_one_line_and_continues_when_there_is_room(quota, tmp_path, kib):
    options = tiny.everything(tmp_path) | {"out": quota.path / "out", "state": quota.path / "state"}
    options["checkpoint_steps"] = 2
    quota.room(kib)
    with pytest.raises(PetvrError, match=r"cannot be written: Disk quota exceeded[^\n]*$"):
        tiny.train(SPEC, **options)
    assert not list(quota.path.rglob("*.part"))
    quota.room(None)
    whole = tiny.train(SPEC, **(tiny.arguments(tmp_path) | {"out": tmp_path / "out", "state": tmp_path / "state"}))
    assert tiny.train(SPEC, **options).evaluations == whole.evaluations


def test_weights_that_do_not_fit_are_one_line_though_a_library_in_rust_writes_them(disk, tmp_path, capsys):
    tiny.write_weights(tmp_path / "source", width=64)
    disk.room(100)
    with pytest.raises(PetvrError, match=r"^\S+disk/weights: cannot be written: No space left on device$"):
        weights.fetch(str(tmp_path / "source"), disk.path / "weights")
    assert not (disk.path / "weights").exists()
    disk.remount("size=16m")
    weights.fetch(str(tmp_path / "source"), disk.path / "weights")


def test_a_frozen_features_cache_on_a_full_disk_is_done_without(disk, tmp_path):
    """Written through a mapped file, a full disk would end the process by a signal."""
    options = tiny.everything(tmp_path) | {"feature_cache": disk.path, "feature_cache_gib": 1.0}
    disk.room(8)
    result = tiny.train(tiny.spec("zero_shot", train=False), **options)
    assert "No space left on device; going on without this cache" in (options["out"] / "log.txt").read_text()
    assert result.evaluations and result.cost.prefix_blocks is None


def test_a_read_only_disk_is_one_line(disk):
    disk.remount("ro")
    with pytest.raises(PetvrError, match=r"x\.json: cannot be written: Read-only file system"):
        atomic.write_json(disk.path / "x.json", {})


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [("RLIMIT_FSIZE", 1000, "File too large"), ("RLIMIT_NOFILE", 3, "Too many open files")],
)
@pytest.mark.slow
def test_limits_of_the_system_are_one_line_and_leave_the_old_file(tmp_path, limit, value, reason):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")
    script = f"""
import resource, torch
from petvr.training.result_writer import write_adapter
from safetensors.torch import save_file
from petvr.errors import PetvrError
from pathlib import Path
resource.setrlimit(resource.{limit}, ({value}, {value}))
try:
    write_adapter({{"a": torch.zeros(1000)}}, Path({str(path)!r}))
except PetvrError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert f"x.safetensors: cannot be written: {reason}" in out.stdout, out.stderr
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["x.safetensors"]
    assert resource.getrlimit(getattr(resource, limit)) != (value, value)


@pytest.fixture
def finished(tmp_path):
    """One run below results, and their configuration."""
    layout = Layout(tmp_path / "results")
    options = tiny.everything(tmp_path) | {"out": layout.run(SPEC), "state": layout.state(SPEC)}
    tiny.train(SPEC, **options)
    (layout.results / "frames" / "colours").mkdir(parents=True)
    (tmp_path / "store").rename(layout.results / "frames" / "colours" / "store")
    return layout


def verified(layout, capsys):
    code = verify.run(type("Arguments", (), {"only": None})(), Config.model_construct(results=layout.results))
    return code, capsys.readouterr().out


def flip(path, place=-100):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(content)


def test_verify_is_content_with_what_was_written(finished, capsys):
    code, out = verified(finished, capsys)
    assert (code, out.splitlines()[-1]) == (0, f"{finished.results}: 1 frames, 1 runs: all as it was written")


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("ranks.npz", flip, "ranks.npz: altered or damaged since its result was written"),
        ("ranks.npz", lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, .* were written with its result"),
        ("ranks.npz", Path.unlink, "ranks.npz: no such file"),
        ("adapter.safetensors", lambda path: path.write_bytes(b"x"), "1 bytes, .* were written with its result"),
        ("result.json", lambda path: path.write_text(path.read_text().replace('"R@1": ', '"R@1": 1')), "R@1|altered"),
        ("result.json", lambda path: path.write_text(path.read_text().replace('"epoch": 1', '"epoch": 7')), "altered"),
    ],
)
def test_a_damaged_run_is_named_by_verify_and_has_no_number_in_a_table(finished, capsys, file, damage, reason):
    import re

    damage(finished.run(SPEC) / file)
    code, out = verified(finished, capsys)
    assert code == 1 and re.search(reason, out) and "1 faults" in out
    status = run_status(finished, SPEC.id, SPEC.digest())
    assert status.state is RunState.FAILED and re.search(reason, status.reason) and status.result is None


def test_verify_reads_every_frame_and_the_whole_adapter(finished, capsys):
    flip(finished.run(SPEC) / "adapter.safetensors")
    flip(finished.results / "frames/colours/store/frames.bin", 50)
    code, out = verified(finished, capsys)
    assert code == 1 and "2 faults" in out
    assert "adapter.safetensors: altered or damaged" in out and "train0: pictures 0 to" in out


def test_a_result_of_an_earlier_petvr_is_read_and_one_of_a_later_is_not(finished, capsys):
    path = finished.result(SPEC)
    data = json.loads(path.read_text())
    for key in ("seal", "files"):
        del data[key]
    path.write_text(json.dumps(data))
    assert Result.read(path).files == {}
    code, out = verified(finished, capsys)
    assert code == 0 and "1 of an earlier petvr, which noted no checksums" in out
    path.write_text(json.dumps(data | {"schema_version": 99}))
    with pytest.raises(PetvrError, match="schema version 99; this petvr reads 1 to"):
        Result.read(path)


@pytest.mark.parametrize(
    ("metric", "value"), [("R@1", 100.5), ("R@5", -1), ("RSum", 301), ("MdR", 0.5), ("MnR", 1e308)]
)
def test_what_no_ranking_gives_is_refused(finished_result, tmp_path, metric, value):
    path, right = (
        tmp_path / "result.json",
        {"R@1": 10.0, "R@5": 30.0, "R@10": 40.0, "RSum": 80.0, "MdR": 9.0, "MnR": 12.0},
    )
    finished_result(SPEC, {"t2v": right, "v2t": right}).write(path)
    assert Result.read(path).evaluations
    data = json.loads(path.read_text())
    del data["seal"]
    data["evaluations"][0]["plain"]["t2v"][metric] = value
    path.write_text(json.dumps(data))
    with pytest.raises(PetvrError, match=f"{metric} is .*, possible"):
        Result.read(path)


NO_SHM = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro none /dev/shm && exec "$@"', "sh"]


@pytest.mark.slow
@pytest.mark.parametrize("limits", [NO_SHM, ["prlimit", "--nofile=16"], ["prlimit", "--nofile=9"]])
def test_without_shared_memory_or_with_few_open_files_a_command_works_or_ends_in_one_line(tmp_path, limits):
    if limits is NO_SHM and subprocess.run([*limits, "true"], capture_output=True).returncode:
        pytest.skip("only root may mount another /dev/shm")
    zoo.write(tmp_path / "a.mp4", codec="libx264", frames=10, fps=10, size=(64, 64))
    command = [sys.executable, "-m", "petvr", "videos", str(tmp_path / "a.mp4"), "--workers", "1"]
    done = subprocess.run([*limits, *command], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    sound = done.returncode == 0 and "a.mp4: mov h264 64x64, 10 frames" in done.stdout
    refused = done.returncode == 2 and done.stderr.startswith("petvr: error: ") and done.stderr.count("\n") == 1
    assert sound or (refused and "nofile=9" in limits[-1]), done
