"""The versions and folders that are written down in more than one file agree."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_package_needs_what_the_requirements_say_but_no_pytest():
    needed = [line for line in requirements("requirements.txt") if not line.startswith("pytest")]
    assert PYPROJECT["project"]["dependencies"] == needed


def test_every_folder_with_code_is_installed_and_no_other():
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / "minireason").rglob("*.py")}
    packages = [".".join(folder.parts) for folder in folders]
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == sorted(packages)


def test_the_commit_hooks_run_the_linters_that_ci_runs():
    config = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pinned = re.findall(r"additional_dependencies: \[(.*)\]", config)
    assert pinned and set(pinned) < set(requirements("tests/requirements.txt"))


def test_every_workflow_installs_the_torch_of_the_requirements():
    torch = requirements("requirements.txt")[0]
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        installed = re.findall(r"torch==\S+", workflow.read_text(encoding="utf-8"))
        assert installed and set(installed) == {torch}, workflow.name
