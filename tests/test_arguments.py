"""A wrong argument of a command: one line that names it and what is allowed, before anything starts."""

import os
from pathlib import Path

import pytest

from petvr import atomic, cli
from petvr.arguments import named_path
from petvr.errors import PetvrError

RUN = "vop/msrvtt-9k/vit-b-32/vop/seed-0"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", RUN, "--threads", "0"], "--threads: 0 given, allowed: 1 to 1024"),
        (["train", RUN, "--threads", "100000"], "--threads: 100000 given, allowed: 1 to 1024"),
        (["train", RUN, "--threads", "1.5"], "--threads: 1.5 given, allowed: 1 to 1024"),
        (["train", RUN, "--threads", "٣"], "--threads: ٣ given, allowed: 1 to 1024"),
        (["train"], "petvr train: the following arguments are required: run"),
        (["train", RUN, "--thread"], "petvr train: argument --threads: expected one argument"),
        (["weights", "tiny", "--threads", "-3"], "--threads: -3 given"),
        (["world", "msvd", "--workers", "0"], "--workers: 0 given"),
        (["search", "--run", RUN, "a", "--top", "9" * 30], "given, allowed: 1 or more"),
        (
            ["search", "--run", RUN, "--video", "a.mp4", "--seconds", "0", "inf"],
            "--seconds: inf given, allowed: a number, 0 to 1e+06",
        ),
        (["search", "--run", RUN, "--video", "a.mp4", "--seconds", "9", "1"], "allowed: 0 <= START < END < 1e+06"),
        (["examples", RUN, "--seed", "-1"], "--seed: -1 given, allowed: 0 to 4294967295"),
        (["serve", "--run", RUN, "--port", "70000"], "--port: 70000 given, allowed: 0 to 65535"),
        (["serve", "--run", RUN, "--host", ""], "an empty argument (behind '--host')"),
        (["mlflow", "--port", "-1"], "--port: -1 given"),
        (["mlflow", "--host", " "], "an empty argument (behind '--host')"),
        (["frames", "msvd", "--sampler", "uniform_mid", "--frames", "3", "--size", "0"], "allowed: 1 to 4096"),
        (["encode", "a", "--model", "b", "--to", "c", "--join", "0"], "--join: 0 given, allowed: 1 to 100000"),
        (
            ["encode", "a", "--model", "b", "--to", "c", "--shard", "1/99999999999"],
            "--shard: '1/99999999999' given, allowed: ",
        ),
        (["videos", ""], "an empty argument (the first)"),
        (
            ["train", RUN, "--start", ""],
            "an empty argument (behind '--start')",
        ),  # else it would train from the beginning
        (["encode", "a", "--to", "b", "--shard="], "an empty argument (--shard)"),
        (["frames", "msvd", "--sampler", "zz", "--frames", "3", "--picture="], "'zz'"),  # as the workflow says it
        (["score", "a\nb\x1b[31m.npy"], r"a\nb\x1b[31m.npy: no such file"),
        (["score", "a.npy", "--logit-scale", "1_0"], "--logit-scale: 1_0 given, allowed: a number"),
        (["score", "a.npy", "--logit-scale", "٣"], "--logit-scale: ٣ given, allowed: a number"),
        (["rehearse", "--threads", "0"], "--threads: 0 given, allowed: 1 to 1024"),
        (["plan", "--index", "--5"], "petvr plan: "),
        (["costs", "--measure", "--device", "zz"], "--device: invalid choice: 'zz'"),
        (["costs", "--memory", "0"], "--memory: 0 given, allowed: 1 or more"),
        (["bench", "--layers", "0"], "--layers: 0 given"),
        (
            ["score", "a.npy", "--dsl", "emcl", "--temperature", "0"],
            "--temperature: 0 given, allowed: a number",
        ),
        (["score", "a.npy", "--logit-scale", "inf"], "--logit-scale: inf given"),
        (["score", "a.npy", "--temperature", "1"], "--temperature belongs to a dual-softmax"),
        (["score", "a.npy", "--gallery", "0"], "--gallery: 0 given, allowed: 1 or more"),
        (["costs", "--batch", "1", "--batch", "2"], "argument --batch: given twice"),
        (["plan", "--index=--"], "an empty argument (--index)"),  # which argparse makes a list
        (["tune", "trial", "a/b/c/d", "--rung", "0", "--trial="], "argument --trial: empty"),
        (["tune", "decide", "a/b/c/d", "--rung", "-1"], "--rung: -1 given, allowed: 0 or more"),
        (["tune", "export", "--to", "/dev/zero"], "/dev/zero: a pipe or a device"),
        (["plan", "--frames", "3"], "--frames needs --index"),
        (["costs", "--batch", "3"], "--batch needs --measure"),
        (["export", RUN, "--to", "a", "--public"], "--public needs --push"),
        (["search", "--index", "a", "b", "--split", "c"], "--split needs --run"),
        (["search", "--run", RUN, "b", "--seconds", "1", "2"], "--seconds needs --video"),
        (["serve", "--run", RUN, "--run", RUN], f"{RUN} is given twice"),
        (["examples", RUN, f"/{RUN}"], f"{RUN} is given twice"),
        (["claims", "a\nb"], r"unknown paper 'a\nb'"),
        (["bench", "--json", "/"], "/: a folder, allowed: a file"),
        (["jobs", "--folder", "/nowhere/b"], "--folder /nowhere/b: no such folder"),
        (["rehearse", "room", "--values", "/dev/zero"], "/dev/zero: not a file"),
        (["export", RUN, "--to", "a", "--license", "mit\ntags: x"], "allowed: a name of the hub's"),
        (["export", RUN, "--to", "a", "--push", "x"], "--push x: no hub id; one is owner/name"),
        (["mlflow", "--host", "é"], "--host: é given, allowed: a host name or address"),
        (["docs", "methods", "--out", "/dev/null"], "/dev/null/methods.md: cannot be written"),
        (["figure", "vop/table_3", "--list"], "--list stands alone; given as well: figure"),
        (["figure", "vop/table_3", "--index", "--kind", "costs"], "--index stands alone; given as well: figure"),
        (["figure", "vop/table_3", "--kind", "costs"], "no figure of kind costs, allowed: scatter, curves"),
        (["table", "--all", "vop/table_3"], "--all stands alone; given as well: table"),
        (["table", "vop/table_3", "vop/table_3"], "argument table: vop/table_3 is given twice"),
        (["bench", "--method", "vop", "--method", "vop"], "argument --method: vop is given twice"),
        (["bench", "--frames", "1025"], "--frames: 1025 given, allowed: a whole number, 1 to 1,024"),
        (["bench", "--frames", "1.5"], "--frames: '1.5' given, allowed: a whole number, 1 to 1,024"),
        (["bench", "--batch", "1"], "--batch: 1 given, allowed: a whole number, 2 to 1,048,576"),
        (
            ["probes", "--methods", "lora,,vop"],
            "--methods: lora,,vop given, allowed: names joined by commas, each once",
        ),
        (["probes", "--probes", "counting,counting", "--json", "a"], "--probes: counting,counting given, allowed: "),
        (["rehearse", "--list", "room"], "--list stands alone; given as well: parts"),
        (["plan", "--index", "5", "--everything"], "--index stands alone; given as well: everything"),
        (["train", RUN, "--wait", "--fresh"], "--wait stands alone; given as well: fresh"),
        (["train", RUN, "--evaluate-only"], "--evaluate-only needs --start"),
        (["train", RUN, "--start", "nowhere"], "nowhere: holds neither petvr.json"),  # before weights are looked for
        (["encode", "nowhere", "--model", "m", "--to", "x"], "nowhere: no such folder of videos"),
        (["serve", "--run", RUN, "--host", "203.0.113.1"], "--host 203.0.113.1 --port 8765: "),  # before any encoding
        (["--nonsense"], "unknown argument '--nonsense'"),
    ],
)
def test_a_wrong_argument_is_one_line(words, said, capsys):
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert said in err and err.startswith("petvr: error: ") and err.count("\n") == 1


def test_what_is_not_its_own_is_neither_replaced_nor_removed(tmp_path, capsys):
    """Root would put a file in the place of /dev/null; a page's folder is emptied of `videos` before it is written."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PetvrError, match="pipe: a pipe or a device"):
        atomic.write_json(tmp_path / "pipe", {})
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "data" / "videos").mkdir(parents=True)
    assert cli.main(["examples", RUN, "--out", str(tmp_path / "data")]) == 2
    assert "would be replaced; name a new folder" in capsys.readouterr().err
    assert (tmp_path / "data" / "videos").is_dir()


def test_home_is_meant_in_an_option_too(monkeypatch):
    """Of --to=~/x a shell makes nothing, and a folder named ~ would arise."""
    monkeypatch.setenv("HOME", "/home/me")
    assert named_path("~/x") == Path("/home/me/x")


def test_a_link_to_itself_is_no_name(tmp_path, capsys):
    (tmp_path / "loop").symlink_to("loop")
    assert cli.main(["videos", "a.mp4", "--transcode", str(tmp_path / "loop")]) == 2
    assert "argument --transcode: " in capsys.readouterr().err


def test_a_message_stays_one_line_wherever_it_is_printed():
    assert str(PetvrError("a\nb\x1b[31m")) == r"a\nb\x1b[31m"


def test_a_pipe_is_no_matrix(tmp_path, capsys):
    os.mkfifo(tmp_path / "a.npy")
    assert cli.main(["score", str(tmp_path / "a.npy")]) == 2
    assert "a.npy: not a file" in capsys.readouterr().err
