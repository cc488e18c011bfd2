"""What a reader sees: Markdown, LaTeX, CSV, HTML, the console and the index page."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import subprocess

import pytest
from rich.console import Console
from table_factory import cell, measure, planned, put, result, row, spec, table

from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers import Row
from petvr.papers.schema import Copied
from petvr.report.tables import FORMATS, frame, render, show_run, show_table, write_index, write_table


@pytest.fixture
def small(tmp_path):
    results = tmp_path / "results"
    rows = [
        row("Full", put(results, "full", [44.1, 44.9, 45.0]), group="Fine-tune"),
        row("VoP^F", put(results, "vop_f", [44.0, 44.5]) + planned("vop_f", 3)[2:], group="Prompt"),
        row("Bias", put(results, "bias", [40.0]), group="Prompt"),
        row("Proj", planned("proj", 3), group="Prompt"),
        Row(name="VoP^C", cells={"msrvtt-7k": cell(unavailable="not implemented: vop_c")}, group="Prompt"),
        Row(
            name="Ju et al.",
            cells={"msrvtt-7k": cell(unavailable="reported only", reported_only=Copied(evidence="copied"))},
            group="Prompt",
        ),
    ]
    printed = {(0, "params_M"): "119.8", (0, "t2v:R@1"): "42.0", (1, "params_M"): "0.1", (1, "t2v:R@1"): "44.6"}
    printed |= {(1, "t2v:MnR"): "16.3", (5, "t2v:R@1"): "36.7"}
    return measure(table(rows, printed), results, rerun="snakemake --cores all")


GOLDEN = """\
### VoP, table 3: All methods

| Method | Params (M) | trains (M) | T→V R@1 | T→V MnR | V→T R@1 | Seeds |
| :-- | --: | --: | --: | --: | --: | :-- |
| *Fine-tune* |  |  |  |  |  |  |
| Full<sup>1</sup> | 0.123 | 0.123 | **44.7±0.5** | **5.3±0.5** | **43.7±0.5** | 3 |
| ↳ paper | 119.8 (−119.7) | – | 42.0 (+2.7 outside) | – | – |  |
| *Prompt* |  |  |  |  |  |  |
| VoP^F<sup>2</sup> | 0.123 | 0.123 | <u>44.2±0.4</u> | <u>5.8±0.4</u> | <u>43.2±0.4</u> | 2 of 3 seeds (missing) |
| ↳ paper | 0.1 (equal) | – | 44.6 (−0.4 open) | 16.3 (−10.6 open) | – |  |
| Bias | 0.123 | 0.123 | 40.0 | 10.0 | 39.0 | n=1 |
| Proj | 0.123 | 0.130 | – | – | – | missing |
| VoP^C | – | – | – | – | – | not implemented: vop\\_c |
| Ju et al.<sup>3</sup> | 0.123 | 0.130 | – | – | – | reported only° |
| ↳ paper | – | – | 36.7 | – | – |  |

Mean±sample standard deviation over seeds (ddof=1; seeds 0, 1, 2; n=1: a single run). \
Evaluation shown: best\\_on\\_test by t2v/R@1 (as the recipe says; the test split chose the epoch). Arithmetic: fp32. \
Params: counted on the model, as VoP counts; trains: every number that a run trains. Bold: best measured \
value; underlined: second best. In brackets, in HTML and CSV, 95 % by test queries (videos as units, the gallery \
fixed) and seeds together, of a single seed by queries alone; rows of a column that share a letter do not differ (same \
queries, Holm, 5 %). R@1 of two rows closer than about 1.2 points cannot be told apart here. Below each row the value \
the paper prints and our difference to it: inside or outside the 95 % prediction interval of our seeds (their \
deviation pooled over rows where these agree), open where one or two seeds say nothing; parameters: equal at all \
printed digits. MSR-VTT-7k: 1,000 of 1,000 test and 7,010 of 7,010 training videos, 1,000 test captions; \
class A (exact); data d1e2f3.

Notes:

- <sup>1</sup> Params (M): computed 0.123, printed 119.8.
- <sup>2</sup> missing seed 2 (not run yet).
- <sup>3</sup> ° reported only: copied (sure).

petvr 0.1.0, git 0123456789; runs finished 2026-01-05; cpu. Values in force: 8, by origin: guess 4, paper 4; \
petvr show RUN has each with its place.

Run one again: `snakemake --cores all --force 'RESULTS/runs/vop/msrvtt-7k/vit-b-32/full/seed-0/result.json'`, \
then ask for this table.
"""


def test_markdown(small):
    assert render(small, "md").replace(str(small.results), "RESULTS") == GOLDEN


def test_csv_has_every_seed_in_full_and_the_run_it_comes_from(small):
    assert render(small, "csv") == frame(small).to_csv(index=False, lineterminator="\n")
    lines = list(csv.DictReader(io.StringIO(render(small, "csv"))))
    full = [line for line in lines if (line["row"], line["direction"], line["metric"]) == ("Full", "t2v", "R@1")]
    seeds = {line["seed"]: line for line in full if line["kind"] == "seed"}
    assert {seed: float(line["value"]) for seed, line in seeds.items()} == {"0": 44.1, "1": 44.9, "2": 45.0}
    assert seeds["1"]["run"] == "vop/msrvtt-7k/vit-b-32/full/seed-1"
    assert (seeds["1"]["epoch"], seeds["1"]["rule"], seeds["1"]["data_digest"]) == ("1", "best_on_test", "d1e2f3")
    (total,) = [line for line in full if line["kind"] == "aggregate"]
    values = [44.1, 44.9, 45.0]
    mean = sum(values) / 3
    assert float(total["value"]) == pytest.approx(mean, rel=1e-15)
    assert float(total["std"]) == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / 2), rel=1e-12)
    assert (total["n"], total["printed"], total["verdict"]) == ("3", "42.0", "outside")
    states = {line["row"]: line["state"] for line in lines if line["kind"] == "aggregate"}
    assert states["VoP^F"] == "missing ok" and states["Proj"] == "missing"
    assert states["Ju et al."] == "reported only" and states["VoP^C"] == "not implemented: vop_c"


NASTY = r"50% & _under_ #1 $x$ {a} ~t \cmd <b>|*[link](x)* ±"


def nasty_table(tmp_path):
    results = tmp_path / "results"
    rows = [row(NASTY, put(results, "vop", [44.0, 45.0]), group=NASTY, block="<script>alert(1)</script>")]
    return measure(table(rows, {(0, "t2v:R@1"): "44.6"}), results)


def test_latex_escapes_everything(tmp_path):
    text = render(nasty_table(tmp_path), "tex")
    body = text[text.index(r"\midrule") :]
    for raw in (r"\cmd", "50% ", "$x$", "{a}", "_under_", " #1", "<b>", "±"):
        assert raw not in body, raw
    assert r"50\% \& \_under\_ \#1 \$x\$ \{a\} \textasciitilde{}t \textbackslash{}cmd" in body
    # unescaped braces are balanced and every line of the table has the same number of cells
    assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))
    lines = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {6}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_alone_and_inside_a_document(small, tmp_path):
    for name, built in {"small": small, "nasty": nasty_table(tmp_path / "other")}.items():
        (tmp_path / f"{name}.tex").write_text(render(built, "tex"), encoding="utf-8")
    whole = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,xcolor,graphicx}\begin{document}"
    (tmp_path / "whole.tex").write_text(whole + r"\input{small}\input{nasty}\end{document}")
    for name in ("small", "nasty", "whole"):
        command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", name]
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert made.returncode == 0, made.stdout[-2000:]


def test_html_escapes_and_stands_alone(tmp_path):
    text = render(nasty_table(tmp_path), "html", tmp_path)
    assert "<script>" not in text and "&lt;script&gt;" in text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)


def test_html_links_lead_to_the_runs(small):
    (page,) = [path for path in write_table(small, small.results / "tables") if path.suffix == ".html"]
    links = [link for link in re.findall(r'href="([^"]+)"', page.read_text()) if "runs/" in link]
    assert len(links) == 6
    for link in links:
        assert (page.parent / link / "result.json").exists()


def test_values_in_force_are_listed_with_their_sources_guesses_first(small):
    text = render(small, "html")
    first, second = text.index("<code>recipe.lr_new</code>"), text.index("<code>recipe.batch</code>")
    assert first < second and "the paper names no rate for &lt;new&gt; parts" in text[first:second]
    assert "section 4.1" in text[second:] and "1 of them our guesses" in text


def test_markdown_keeps_its_columns_whatever_the_names(tmp_path):
    lines = [line for line in render(nasty_table(tmp_path), "md").splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {8}


@pytest.mark.parametrize("broken", ["{", "[]", '{"schema_version": 1}', "", "\udcff"])
def test_a_broken_result_is_a_failed_cell_with_its_reason(small, broken):
    path = Layout(small.results).result(spec("bias", 0))
    path.write_bytes(broken.encode(errors="surrogateescape"))
    text = render(measure(small.planned, small.results), "md")
    assert re.search(r"\| Bias<sup>\d</sup> \| 0.123 \| 0.130 \| – \| – \| – \| failed \|", text)
    assert "bias/seed-0 failed: " in text
    assert "**44.7±0.5**" in text


def test_a_job_that_failed_tells_why(small):
    path = Layout(small.results).failure(spec("proj", 1))
    path.parent.mkdir(parents=True)
    path.write_text('{"error": "loss is not finite\\nat step 7"}')
    text = render(measure(small.planned, small.results), "md")
    assert "proj/seed-1 failed: loss is not finite at step 7." in text


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_never_printed(small, value):
    made = result(spec("bias", 0), 40.0)
    made.evaluations[1].plain["t2v"]["R@5"] = value
    text = made.model_dump_json(indent=1).replace('"R@5": null', f'"R@5": {"NaN" if math.isnan(value) else "Infinity"}')
    Layout(small.results).result(spec("bias", 0)).write_text(text)
    built = measure(small.planned, small.results)
    for suffix in FORMATS:
        assert not re.search(r"\b(nan|inf)\b", render(built, suffix), re.IGNORECASE)
    assert "t2v/R@5 is not a number" in render(built, "md")


def test_a_result_in_the_wrong_folder_is_not_believed(small):
    result(spec("full", 0), 99.0).write(Layout(small.results).result(spec("bias", 0)))
    assert "holds the result of vop/msrvtt-7k/vit-b-32/full/seed-0" in render(
        measure(small.planned, small.results), "md"
    )


def test_cells_on_different_data_are_refused_or_said_loudly(tmp_path):
    rows = [
        row("a", put(tmp_path, "a", [40.0])),
        row("b", put(tmp_path, "b", [41.0], data={"digest": "other"})),
    ]
    with pytest.raises(PetvrError, match=r"vop/table_3.*msrvtt-7k: .*/a/seed-0 has .*d1e2f3.*/b/seed-0 has .*other"):
        measure(table(rows), tmp_path)
    assert "WARNING, different data" in render(measure(table(rows), tmp_path, mixed_data=True), "md")


def test_synthetic_and_real_are_never_one_table(tmp_path):
    rows = [row("a", put(tmp_path, "a", [40.0])), row("b", put(tmp_path, "b", [41.0], data={"world": "synthetic"}))]
    with pytest.raises(PetvrError, match="synthetic"):
        measure(table(rows), tmp_path)


def test_the_title_says_synthetic_world(tmp_path):
    runs = put(tmp_path, "vop", [44.0, 45.0], data={"world": "synthetic"})
    built = measure(table([row("VoP", runs)], {(0, "t2v:R@1"): "44.6"}), tmp_path)
    for suffix in ("md", "tex", "html"):
        text = render(built, suffix)
        assert "synthetic world" in text.splitlines()[0] or "synthetic world" in text
        assert "44.6" in text and "−0.1" not in text and "+0.1" not in text


def test_the_caption_names_missing_videos_and_the_rule(tmp_path):
    runs = put(tmp_path, "vop", [44.0, 45.0], data={"test_videos": 970, "test_captions": 970})
    text = render(measure(table([row("VoP", runs)]), tmp_path, rule="last"), "md")
    assert "MSR-VTT-7k †: 970 of 1,000 (97.0 %) test and 7,010 of 7,010 training videos" in text
    assert "class C" in text and "44.0±0.7†" in text
    assert "Evaluation shown: last (asked for with --rule)." in text


def test_the_index_counts_rows(small):
    html, markdown = write_index([small], small.results / "tables")
    assert "2 / 4" in html.read_text() and 'href="vop/table_3.html"' in html.read_text()
    assert "| [VoP, table 3](vop/table_3.md) | All methods | 2 / 4 |" in markdown.read_text()


def console(width: int) -> Console:
    return Console(width=width, file=io.StringIO(), color_system=None)


def test_the_screen_shows_the_table(small):
    wide = console(130)
    show_table(small, wide)
    told = wide.file.getvalue()
    assert "44.7±0.5" in told and "42.0 (+2.7 outside)" in told and "too narrow" not in told


def test_a_narrow_screen_leaves_columns_out_and_says_so(small):
    narrow = console(80)
    show_table(small, narrow)
    told = narrow.file.getvalue()
    assert "44.7±0.5" in told and "too narrow for" in told and "V→T R@1" in told
    assert "…" not in told


def test_one_run_on_the_screen():
    screen = console(110)
    show_run(result(spec("vop", 0), 44.0), screen)
    told = screen.file.getvalue()
    wants = ["vop/msrvtt-7k/vit-b-32/vop/seed-0", "best_on_test", "recipe.lr_new", "the paper names no rate"]
    wants += ["122,880 of 151,400,193", "1,000 of 1,000 videos", "d1e2f3", "0123456789abcdef", "torch 2.13.0"]
    for wanted in wants:
        assert wanted in told, wanted
    screen = console(110)
    show_run(result(spec("vop", 0), 44.0), screen, guesses_only=True)
    assert "recipe.lr_new" in screen.file.getvalue() and "recipe.batch" not in screen.file.getvalue()
