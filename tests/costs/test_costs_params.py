import shutil
import subprocess
import sys

import pytest

from petvr import methods, papers, planning
from petvr.atomic import kept_count
from petvr.commands.table import size_counter
from petvr.config import load_config
from petvr.costs import counting_code, params
from petvr.errors import PetvrError
from petvr.papers.own import own_table


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The user's, empty, and what this process has counted already forgotten."""
    monkeypatch.setenv("PETVR_CACHE", str(tmp_path / "cache"))
    params._counts.cache_clear()


@pytest.fixture(scope="module")
def rows():
    return params.table_lines()


@pytest.mark.parametrize(
    ("paper", "backbone", "method", "setting", "printed"),
    [
        ("vop", "vit-b-32", "full", {"rule": "everything"}, ("119.8", "100")),
        ("vop", "vit-b-16", "full", {"rule": "everything"}, ("118.1", "100")),
        ("vop", "vit-b-32", "bias", {}, ("0.1", "0.104")),
        ("vop", "vit-b-32", "proj", {}, ("0.7", "0.547")),
        ("vop", "vit-b-16", "proj", {}, ("0.7", "0.555")),
        ("vop", "vit-b-32", "partial", {}, ("7.7", "6.410")),
        ("vop", "vit-b-16", "partial", {}, ("7.7", "6.506")),
        ("vop", "vit-b-32", "adapter_attn", {}, ("2.0", "1.655")),
        ("vop", "vit-b-16", "adapter_ffn", {}, ("2.0", "1.680")),
        ("vop", "vit-b-32", "vop", {}, ("0.1", "0.103")),
        ("vop", "vit-b-16", "vop", {}, ("0.1", "0.104")),
        ("vop", "vit-b-32", "vop_p", {}, ("0.5", "0.441")),
        ("vop", "vit-b-16", "vop_p", {}, ("0.5", "0.448")),
        ("vop", "vit-b-32", "vop_c", {}, ("14.3", "11.898")),
        ("vop", "vit-b-16", "vop_c", {}, ("14.3", "12.077")),
        ("vop", "vit-b-32", "vop_f", {}, ("0.1", "0.103")),
        ("vop", "vit-b-16", "vop_f", {}, ("0.1", "0.104")),
        ("vop", "vit-b-32", "vop_f+vop_p", {}, ("0.4", "0.328")),
        ("vop", "vit-b-16", "vop_f+vop_p", {}, ("0.4", "0.333")),
        ("rap", "vit-b-32", "coop", {"tokens": 32}, ("0.02", None)),
        ("cross_modal_adapter", "vit-b-32", "coop", {"tokens": 64}, ("0.033", "0.0217")),
        ("cross_modal_adapter", "vit-b-32", "vpt", {"tokens": 40}, ("0.37", "0.24")),
        ("cross_modal_adapter", "vit-b-32", "vl_prompt", {"tokens": 80}, ("1.23", "0.81")),
        ("cross_modal_adapter", "vit-b-32", "maple", {"tokens": 20}, ("4.85", "3.21")),
        ("rap", "vit-b-32", "full", {}, ("151.28", None)),
        ("rap", "vit-b-16", "full", {}, ("149.62", None)),
        ("rap", "vit-b-32", "zero_shot", {}, ("0", None)),
        ("rap", "vit-b-32", "st_adapter", {}, ("14.22", None)),
        ("rap", "vit-b-32", "lora", {"rank": 8}, ("0.49", None)),
        ("rap", "vit-b-32", "ssf", {}, ("0.34", None)),
        ("mv_adapter", "vit-b-16", "full", {"rule": "everything"}, (None, "100")),
        ("mv_adapter", "vit-b-16", "adaptformer", {"video": "sequential"}, (None, "2.78")),
        ("mv_adapter", "vit-b-16", "convpass", {}, (None, "2.80")),
        ("mv_adapter", "vit-b-16", "cm_adapter", {}, (None, "2.76")),
        ("mv_adapter", "vit-b-16", "cm_adapter", {"ds": 8}, (None, "2.77")),
        ("mv_adapter", "vit-b-16", "cm_adapter", {"ds": 512}, (None, "2.25")),
        ("mv_adapter", "vit-b-16", "mv_adapter", {}, (None, "2.39")),
        ("mv_adapter", "vit-b-16", "mv_adapter", {"cmt_layers": 3}, (None, "2.42")),
        ("cross_modal_adapter", "vit-b-32", "full", {"freeze": 6}, ("62.10", "41.05")),
        ("cross_modal_adapter", "vit-b-32", "full", {"freeze": 9}, ("31.38", "20.74")),
        ("cross_modal_adapter", "vit-b-32", "cross_modal_adapter", {}, ("0.52", "0.34")),
        ("cross_modal_adapter", "vit-b-32", "cross_modal_adapter", {"r": 16, "ds": 64}, ("0.99", None)),
        ("cross_modal_adapter", "vit-b-32", "cross_modal_adapter", {"r": 16, "ds": 512}, ("0.81", None)),
    ],
)
def test_printed_figures_are_met_at_every_printed_digit(paper, backbone, method, setting, printed):
    found = params.as_printed(papers.load_paper(paper).counting, params.counts(backbone, method, setting), backbone)
    for metric, figure in zip(("params_M", "params_percent"), printed, strict=True):
        if figure is not None:
            assert params.count_check(found[metric], figure) == "agrees", (metric, found[metric])


def as_vop_prints(backbone, method, setting=None):
    return params.as_printed(papers.load_paper("vop").counting, params.counts(backbone, method, setting), backbone)


def test_vops_whole_is_openais_model_without_what_no_leaf_module_holds():
    """By hand: blocks without the attention's input projections, norms, the patch convolution, the token table."""

    def by_hand(patch):
        blocks = sum(
            12 * (width * width + width + 2 * 4 * width * width + 5 * width + 4 * width) for width in (768, 512)
        )
        return blocks + 2 * 2 * 768 + 2 * 512 + 3 * patch * patch * 768 + 49408 * 512

    for backbone, patch in (("vit-b-32", 32), ("vit-b-16", 16)):
        full = as_vop_prints(backbone, "full", {"rule": "everything"})
        assert full["params_M"] * 1e6 == pytest.approx(by_hand(patch))
        assert papers.load_paper("vop").percent_of[backbone] == by_hand(patch)


def test_the_printed_size_of_vop_f_and_c_together_is_a_slip_of_bookkeeping():
    """What the parts make, and how the printed 11.785 % and 11.962 % come about."""
    size = {
        method: round(as_vop_prints("vit-b-32", method)["params_M"] * 1e6)
        for method in ("vop_p", "vop_c", "vop_f+vop_p", "vop_f+vop_c")
    }
    assert size["vop_f+vop_c"] == 14_269_440
    slip = size["vop_c"] - size["vop_p"] + size["vop_f+vop_p"]
    for backbone, printed in (("vit-b-32", "11.785"), ("vit-b-16", "11.962")):
        assert params.count_check(100 * slip / papers.load_paper("vop").percent_of[backbone], printed) == "agrees"


def test_counts_tell_the_parts_apart():
    found = params.counts("vit-b-32", "bias+vop", {"tokens": 4})
    assert found.by_part == {"clip": 171_008, "new": 61_440, "head": 0}
    assert found.trainable == sum(found.names.values()) == 232_448
    assert found.total == 151_277_313 + 61_440
    assert params.counts("vit-b-32", "vop", train_logit_scale=True).by_part["clip"] == 1
    with pytest.raises(PetvrError, match="unknown method 'vopp'"):
        params.counts("vit-b-32", "vopp")


@pytest.mark.parametrize(
    ("computed", "printed", "said"),
    [
        (123.540993, "123.52", "computed 123.541, printed 123.52"),
        (0.125, "0.13", "agrees"),
        (1.008, "1.00M", "agrees, cut instead of rounded (1.0080)"),
        (81.65, "81.65%", "agrees"),
        (100.0, "100", "agrees"),
        (0.519168, "0.67", "computed 0.519, printed 0.67"),
        (1.06, "1.401/1", "no number is printed ('1.401/1'), computed 1.06"),
    ],
)
def test_count_checks(computed, printed, said):
    assert params.count_check(computed, printed) == said


@pytest.mark.slow  # every row of every table is counted
def test_every_printed_figure_of_every_table_has_a_row_and_a_verdict(rows):
    printed = sum(
        key[3] in params.UNITS
        for name in papers.NAMES
        for table in papers.load_paper(name).tables
        for key in papers.load_paper(name).printed(table)
    )
    assert len(rows) == printed > 300
    assert all(tuple(row) == params.COLUMNS and row["verdict"] for row in rows)


@pytest.mark.slow  # every row of every table is counted
def test_what_is_implemented_agrees_or_says_why_not(rows):
    odd = [row for row in rows if row["trainable"] and not row["verdict"].startswith("agrees")]
    assert all(": " in row["verdict"] for row in odd), "a figure that no count meets needs its reason"
    mine = {(row["printed"], row["verdict"].partition(": ")[2]) for row in odd if row["paper"] == "cross_modal_adapter"}
    reason = "CLIP4Clip's rule trains 123,540,993, and its other freezing depths agree"
    assert {("123.52", reason), ("81.65", reason)} <= mine
    assert all(row["verdict"].startswith(("not implemented", "reported only")) for row in rows if not row["trainable"])


@pytest.mark.slow  # every row of every table is counted
def test_every_share_mv_adapter_prints_is_met_by_what_runs(rows):
    """ST's row and the long data sets with their 32 frames and 64 words included."""
    shares = {(row["table"], row["row"]): row["verdict"] for row in rows if row["paper"] == "mv_adapter"}
    assert len(shares) == 45
    assert {verdict for (_, row), verdict in shares.items() if not row.startswith("Hunyuan")} == {"agrees"}
    assert shares["table_4", "MV-Adapter"] == shares["table_5", "MV-Adapter"] == shares["table_1", "ST"] == "agrees"


@pytest.mark.slow
def test_a_method_and_a_row_show_at_once(monkeypatch):
    """A method that no table names is counted as it is by default; a user's row although nothing is printed of it."""
    listed = {"vop@tokens=4": ("vop", {"tokens": 4}), "later": ("later", {})}
    rows = params.table_lines([own_table("mine", listed, "vop", "VoP: ...", "vit-b-32")])
    mine = {row["method"]: (row["trainable"], row["verdict"]) for row in rows if row["paper"] == "own"}
    assert mine == {"vop@tokens=4": ("61440", "nothing is printed"), "later": ("", "not implemented: later")}
    monkeypatch.setattr(methods, "available", lambda: ["bias", "st_adapter"])
    (line,) = params.method_lines([{"method": "bias+vop", "trainable": "1"}])
    assert (line["method"], line["trainable"], line["verdict"]) == ("st_adapter", "14220288", "no table shows it")


def test_a_count_is_kept_until_what_it_depends_on_changes(tmp_path):
    counted = []

    def count(key, folder=tmp_path):
        return kept_count(folder, [key], {"number": float}, lambda: counted.append(key) or {"number": len(counted)})

    assert [count("a"), count("a"), count("b"), count("a")] == [[1.0], [1.0], [2.0], [1.0]]
    next(tmp_path.glob("*.json")).write_text("{")
    assert sorted([*count("a"), *count("b")]) in ([1.0, 3.0], [2.0, 3.0])
    assert count("a", None) == [4.0] and count("a", None) == [5.0]


@pytest.mark.slow
def test_a_tables_sizes_are_counted_by_the_first_who_builds_it(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(
        f"results: {tmp_path / 'results'}\ntables: [rap/table_1]\nmethods: [lora, bias]\n"
    )
    config = load_config([str(tmp_path / "mine.yaml")])
    plan = planning.plan(config)
    table = plan.tables["rap/table_1"]
    cells = [cell for row in table.rows for cell in row.cells.values() if cell.runs]
    asked = [(cell, metric) for cell in cells for metric in ("params_M", "forward_gmacs")]

    def sizes():
        count = size_counter(config)
        return [count(table, cell, plan.runs[cell.runs[0]].recipe, metric, "1.0") for cell, metric in asked]

    first = sizes()
    assert len(first) >= 2 and all(number > 0 for number, _ in first)
    params._counts.cache_clear()  # as another process has it
    monkeypatch.setattr(params, "_built", None)
    monkeypatch.setattr("petvr.costs.compute.compute", None)
    assert sizes() == first
    monkeypatch.setattr(counting_code, "code_digest", lambda: "of other code")
    params._counts.cache_clear()
    with pytest.raises(TypeError):
        sizes()


def test_a_size_is_kept_until_a_file_of_the_code_changes_or_it_is_damaged(tmp_path, monkeypatch):
    folder = shutil.copytree(methods.REGISTRY.folder, tmp_path / "methods", ignore=shutil.ignore_patterns("__*__"))
    monkeypatch.setattr(methods.REGISTRY, "folder", folder)
    built, really = [], params._built
    monkeypatch.setattr(params, "_built", lambda *given: built.append(given) or really(*given))

    def size():
        params._counts.cache_clear()  # as another process has it
        counting_code.code_digest.cache_clear()
        return params.counts("vit-b-32", "bias").trainable

    first = size()
    assert size() == first and len(built) == 1
    with open(folder / "bias.py", "a") as stream:
        stream.write("# another way\n")
    assert size() == first and len(built) == 2
    [kept] = (tmp_path / "cache" / "counts").iterdir()
    kept.write_text(kept.read_text().replace(str(first), str(first + 1)))
    assert size() == first and len(built) == 3
    monkeypatch.delenv("PETVR_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert size() == first and len(built) == 4, "a user without a home"
    counting_code.code_digest.cache_clear()


def test_a_size_that_is_kept_is_known_without_torch():
    asked = "import sys; from petvr.costs import params; print(params.counts('vit-b-32', 'bias').trainable)"
    size = params.counts("vit-b-32", "bias").trainable
    code = f"{asked}; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == [str(size), "False"]
