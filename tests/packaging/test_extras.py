"""Which module belongs to which extra."""

import re
import tomllib
from importlib.metadata import packages_distributions

from linked_environment import ROOT

from petvr.errors import EXTRAS, missing_extra

WITH_ANOTHER = {"sqlalchemy": "mlflow", "starlette": "fastapi"}  # brought by a package that the extra names


def test_every_package_of_an_extra_is_told_by_the_module_that_is_imported():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    normal = {
        module: {re.sub(r"[-_.]+", "-", name).lower() for name in names}
        for module, names in packages_distributions().items()
    }
    for module, extra in EXTRAS.items():
        named = {re.split(r"[<>=;\s\[]", text, maxsplit=1)[0] for text in extras[extra]}
        brings = normal.get(module, {module.replace("_", "-")}) | {WITH_ANOTHER.get(module, module)}
        assert brings & named, (module, extra)
    told = {name for extra in ("workflow", "mlflow", "serve", "youtube") for name in extras[extra]}
    modules = {module.replace("_", "-") for module in EXTRAS}
    assert {re.split(r"[<>=;\s\[]", text, maxsplit=1)[0] for text in told} <= modules


def test_a_module_of_no_extra_is_a_fault_and_not_told_as_missing():
    assert missing_extra("petvr x", ModuleNotFoundError(name="petvr.mistyped")) is None
    told = str(missing_extra("petvr track", ModuleNotFoundError(name="mlflow.entities")))
    assert told == "petvr track needs mlflow, which is not installed: pip install 'petvr[mlflow]'"
