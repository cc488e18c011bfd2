"""Fresh virtual environments in a second: what a wheel asks for and nothing else, linked from the installed packages.

So an import that no requirement brings fails here as it would for a user, and a missing extra is truly missing.
"""

import platform
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PLUGIN = Path("src/snakemake_executor_plugin_submitit")


class LinkedEnvironment:
    """`wheels`, each with its extras, are installed by pip; what they require on a `machine`, and `more`, is linked."""

    def __init__(self, folder: Path, wheels: dict[Path, str], *more: str, machine: str = platform.machine()):
        self.machine = machine
        venv.create(folder, with_pip=False, symlinks=True)
        self.folder, self.python = folder, folder / "bin" / "python"
        self.packages = next((folder / "lib").glob("python*/site-packages"))
        files = [f"{wheel}" for wheel in wheels]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(self.python)]
        subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", *files], check=True, capture_output=True)
        self.linked: set[str] = {wheel.name.split("-")[0] for wheel in wheels}
        for wheel, extras in wheels.items():
            self._link_requirements(_wheel_requirements(self.packages, wheel), extras)
        self._link_requirements(list(more), "")

    def run(self, *words: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command of this environment (`python`, `petvr`) in a folder outside the repository."""
        environment = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(cwd), "OMP_NUM_THREADS": "1"}
        command = [str(self.folder / "bin" / str(words[0])), *map(str, words[1:])]
        return subprocess.run(command, cwd=cwd, env=environment | variables, capture_output=True, text=True)

    def _link(self, requirement: Requirement) -> None:
        name = requirement.name.lower().replace("-", "_").replace(".", "_")
        if name in self.linked and not requirement.extras:
            return
        self.linked.add(name)
        installed = distribution(requirement.name)
        for top in {file.parts[0] for file in installed.files or () if file.parts[0] not in ("..", "__pycache__")}:
            link, target = self.packages / top, Path(str(installed.locate_file(top)))
            if not link.exists() and target.exists():
                link.symlink_to(target)
        self._link_requirements(installed.requires or [], ",".join(requirement.extras))

    def _link_requirements(self, lines: list[str], extras: str) -> None:
        for requirement in map(Requirement, lines):
            wanted = [{"extra": extra, "platform_machine": self.machine} for extra in ("", *extras.split(","))]
            if requirement.marker is None or any(map(requirement.marker.evaluate, wanted)):
                self._link(requirement)


def _wheel_requirements(packages: Path, wheel: Path) -> list[str]:
    name = wheel.name.split("-")[0]
    (metadata,) = packages.glob(f"{name}-*.dist-info/METADATA")
    header = metadata.read_text(encoding="utf-8").split("\n\n")[0]
    return [line.removeprefix("Requires-Dist: ") for line in header.splitlines() if line.startswith("Requires-Dist: ")]
