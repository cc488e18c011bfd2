"""What a text points to is there: links, paths and commands in docs, and the pages that code and tests name."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRACKED = [
    ROOT / name
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    if name and (ROOT / name).is_file()
]
PAGES = [path for path in TRACKED if path.suffix == ".md"]
CODE = [path for path in TRACKED if path.suffix in {".py", ".smk", ".yaml", ".toml", ".sh"} or path.name == "Snakefile"]
SOURCE = ROOT / "src" / "petvr"


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def headings(page: Path) -> set[str]:
    """The anchors a page has, as GitHub makes them from its headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        aim = page.parent / path if path else page
        assert aim.exists(), f"{name(page)} links to {target}"
        if anchor and aim.suffix == ".md":
            assert anchor in headings(aim), f"{name(page)} links to {target}, which has no such heading"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_every_source_file_a_page_names_exists(page):
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]*\.(?:py|smk|sh|yaml|md|txt))`", page.read_text(encoding="utf-8")):
        if path.startswith(("results/", "locks/")):
            continue  # what a run writes
        homes = (ROOT, ROOT / "src", SOURCE, page.parent)
        assert any((home / path).exists() for home in homes), f"{name(page)} names {path}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_every_command_a_page_names_exists(page):
    commands = {path.stem for path in (SOURCE / "commands").glob("*.py")}
    for command in re.findall(r"(?<![\w.-])petvr ([a-z]+)", "\n".join(_commands(page))):
        assert command in commands, f"{name(page)} names `petvr {command}`"


def _commands(page: Path) -> list[str]:
    """Inline code and indented or fenced lines: prose may say `petvr` and go on."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"`([^`\n]+)`", text) + re.findall(r"^    (.*)$", text, flags=re.M)


def test_code_points_only_to_texts_of_this_repository():
    others = [path for path in CODE if path != Path(__file__)]
    wrong = []
    for path in others:
        text = path.read_text(encoding="utf-8")
        wrong += [
            f"{name(path)}: {page}" for page in re.findall(r"\bdocs/[a-z_]+\.md\b", text) if not (ROOT / page).exists()
        ]
        if elsewhere := re.search(r"\b[A-Z_]{4,}(\.md)? (§|[A-D](\.?\d|\b[:;,)]))", text):
            wrong.append(f"{name(path)}: {elsewhere[0]}")
    assert len(others) > 300 and wrong == []
