"""Who may import whom (the arrows of the design), and what must stay out of the workflow's parsing."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "petvr"
FLOOR = {
    "array_files",
    "registry",
    "errors",
    "atomic",
    "spec",
    "result",
    "text_files",
    "yaml_files",
    "screen",
}  # every package may use these
ARROWS = {
    "papers": {"data.datasets"},
    "clip": set(),
    "retrieval": set(),
    "methods": {"clip"},
    "similarity": {"clip"},
    "data.datasets": set(),
    "data.frames": {"data.datasets"},
    "data.download": {"data.datasets"},
    "data.manifest": {"data.datasets", "data.download", "data.frames", "layout"},
    "costs": {"clip", "methods", "similarity", "papers", "data.datasets"},
    "training": {"methods", "similarity", "clip", "data.frames", "retrieval", "costs", "data.datasets"},
    "library": {"data.datasets", "training", "methods", "similarity", "clip", "data.frames", "retrieval"},
    "search": {"library", "training", "clip", "data.frames", "data.datasets", "retrieval"},
    "report.tables": {"papers", "retrieval", "layout", "status", "data.datasets"},
    "report.claims": {"papers", "retrieval", "layout", "status"},
    "report.figures": {"papers", "report.tables", "layout"},
    "report.examples": {"search", "data.frames", "data.datasets", "report.figures"},
    "report.site": {"papers", "layout"},
    "report.tracking": {"papers", "layout", "environment"},
    "report.docs": {"papers", "methods", "similarity", "clip", "costs", "probes"},
    "config": set(),
    "world": {"data.datasets", "clip"},
    "tuning": {"methods", "config", "layout"},
    "probes": {"methods", "similarity", "clip", "training", "world"},
    "rehearsal": {  # asks of the whole house but what is reported
        "clip", "training", "retrieval", "costs", "papers", "world", "data.datasets", "data.frames", "data.catalogue",
        "config", "layout", "run_ids",
    },
}  # fmt: skip
WINGS = ("data", "report")  # packages of packages: what goes in, what comes out
PACKAGES = sorted(
    name.removesuffix("/__init__.py").replace("/", ".")
    for wing in ("", *(f"{wing}/" for wing in WINGS))
    for name in (path.relative_to(SOURCE).as_posix() for path in SOURCE.glob(f"{wing}*/__init__.py"))
)


def imported(package: str) -> dict[str, set[str]]:
    """Part of petvr -> the files of `package` that import it."""
    found: dict[str, set[str]] = {}
    for path in SOURCE.joinpath(*package.split(".")).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [node.module or ""]
                if node.module in {"petvr", *(f"petvr.{wing}" for wing in WINGS)}:
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                if name.startswith("petvr."):
                    parts = name.split(".")[1:]
                    found.setdefault(".".join(parts[: 2 if parts[0] in WINGS else 1]), set()).add(path.name)
    return found


@pytest.mark.parametrize("package", [name for name in PACKAGES if name not in {"commands", *WINGS}])
def test_arrows(package):
    assert package in ARROWS, f"package {package} has no arrows: add it to the design and here"
    for target, files in imported(package).items():
        if target != "__version__":
            assert target in FLOOR | ARROWS[package] | {package}, f"petvr.{package} ({files}) imports petvr.{target}"


def test_the_architecture_page_names_every_file_and_no_arrow_that_is_not_there():
    """docs/architecture.md: the list of the house, and `a, b --> c, d` of who may import whom."""
    page = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    house = page.partition("    src/petvr/\n")[2].partition("    src/snakemake")[0]
    named = set(re.findall(r"(?<![\w/>])(\w+(?:\.py|/))", house)) - {"results/"}
    below = [path for folder in (SOURCE, *(SOURCE / wing for wing in WINGS)) for path in folder.iterdir()]
    there = {f"{path.name}/" for path in below if (path / "__init__.py").exists()} | {"pipeline/"}
    there |= {path.name for path in SOURCE.glob("[!_]*.py")}
    assert there <= named, f"not in docs/architecture.md: {there - named}"
    assert all(list(SOURCE.rglob(name.strip("/"))) for name in named), "docs/architecture.md names what is not there"
    for left, right in re.findall(r"((?:[\w.]+, )*[\w.]+) --> ((?:[\w.]+, )*[\w.]+)", page):
        for package in set(left.split(", ")) - {"planning", "rehearsal", "commands"}:
            assert set(right.split(", ")) <= ARROWS[package], f"docs/architecture.md: {package} --> {right}"


def test_no_import_circle():
    """Of modules, those that import inside a function or for their annotations alone included."""
    modules = {
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in SOURCE.rglob("*.py")
    }
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        needs = graph.setdefault(module, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                needs.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                needs.update(name if name in modules else str(node.module) for name in inner)
        needs &= modules.keys() - {module}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_planning_and_light_packages_load_without_heavy_ones():
    """The Snakefile is parsed once per job: no torch, no transformers, no MLflow, no pandas, no matplotlib."""
    light = (
        "planning, workflow, config, cli, status, methods, similarity, training, world, costs.budget, data.catalogue, "
        "data.frames, data.manifest, data.download, report.tables, report.tracking, report.figures"
    )
    imports = "; ".join(f"import petvr.{name}" for name in light.split(", "))
    code = f"import sys; {imports}; print(*(m for m in sys.modules if '.' not in m))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "transformers", "mlflow", "pandas", "matplotlib", "av", "decord"} & set(out.split())


def test_a_command_that_a_warm_process_runs_is_handed_over_without_pydantic():
    code = "import sys; import petvr.cli; print(*(m for m in sys.modules if '.' not in m))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"pydantic", "yaml", "numpy"} & set(out.split())


def test_the_executor_plugin_knows_nothing_of_petvr():
    plugin = SOURCE.parent / "snakemake_executor_plugin_submitit"
    for path in plugin.rglob("*.py"):
        assert "petvr" not in path.read_text(encoding="utf-8"), path
