"""Which file may know which: imports go one way and the world needs no torch; nothing is evaluated or
unpickled. Read from the source with ast."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEVELS = {
    0: "upkeep tools command files seeding metrics tasks config settings tokenizer verifier behaviour corpus "
       "plots flags verdict shapes large fits published scores",
    1: "model cache stats token_math parallel neighbours kernels checkpoint vocabulary logs results",
    2: "sampling batch optimizer belonging",
    3: "policy inference rewards run command_line begin snapshots",
    4: "rollout evaluate",
    5: "sft ppo grpo rejection align",
    6: "stages",
    7: "bugs inspector memory export thinking pretrained page compare report playground train sample",
}
LEVEL_OF = {name: level for level, names in LEVELS.items() for name in names.split()}
WORLD, STAGES = set(LEVELS[0].split()), set(LEVELS[5].split())

FILES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
         for path in [*sorted((ROOT / "minireason").rglob("*.py")), *sorted(ROOT.glob("*.py"))]}
SOURCES = {module: path.read_text() for module, path in FILES.items()}


def short(module):
    """minireason.tasks.chat -> tasks, minireason.upkeep.seeding -> seeding"""
    return re.sub(r"^minireason\.((upkeep|tools)\.)?", "", module).split(".")[0]


def imports_of(source, module="here", known=FILES):
    """Every module that a source imports, wherever in it:
    `from a import b` is a.b where that is a module, else a."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports by dots"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if name in known else node.module for name in names)
    return found - {module}


IMPORTS = {module: imports_of(source, module) for module, source in SOURCES.items()}
OURS = {module: {name for name in names if name in FILES} for module, names in IMPORTS.items()}
FOREIGN = {module: {name.split(".")[0] for name in names if name not in FILES}
           for module, names in IMPORTS.items()}


def reaches(module):
    """The module and all of ours that it imports, directly or not."""
    found, waiting = set(), [module]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += OURS[name]
            # packages run first
            waiting += [parent for parent in [name.rpartition(".")[0]] if parent in FILES]
    return found


# -----------------------------------------------------------------------------
# Who imports whom

def test_imports_are_read_wherever_they_stand():
    source = ("import os, torch.nn as nn\nfrom minireason import align, __doc__\n"
              "from minireason.tasks import TASKS\nfrom minireason.tasks import chat\n"
              "def f():\n    from json import loads\n    import minireason.ppo\n")
    assert imports_of(source) == {"os", "torch.nn", "minireason.align", "minireason", "minireason.tasks",
                                  "minireason.tasks.chat", "json", "minireason.ppo"}


def test_every_module_has_a_level():
    """A new file takes its place in the table above."""
    modules = {short(module) for module in FILES} - {"minireason"}
    assert modules <= set(LEVEL_OF), f"give a level to {modules - set(LEVEL_OF)}"
    assert len(modules) > 20 and {"train", "grpo", "tasks", "verifier"} <= modules


@pytest.mark.parametrize("module", sorted(set(FILES) - {"minireason"}))
def test_imports_only_go_down(module):
    own = LEVEL_OF[short(module)]
    for name in OURS[module] - {"minireason"}:
        assert LEVEL_OF[short(name)] <= own, f"{module} (level {own}) imports {name}"
        assert not {short(module), short(name)} <= STAGES, f"{module} and {name} are each to be read alone"


def test_no_circle_of_imports():
    for module in FILES:
        for name in OURS[module] - {"minireason"}:
            if short(name) != short(module):
                assert module not in reaches(name), f"{module} and {name} import each other"


def test_nothing_is_re_exported():
    """Every import shows where the code lives: the package itself imports nothing of its own,
    and only makes commands short."""
    assert not OURS["minireason"] and ast.get_docstring(ast.parse(SOURCES["minireason"]))


# -----------------------------------------------------------------------------
# The world needs no torch

@pytest.mark.parametrize("module", [module for module in FILES if short(module) in WORLD])
def test_the_world_never_reaches_torch(module):
    for name in reaches(module):
        assert "torch" not in FOREIGN[name], f"{module} reaches torch by {name}"


def test_importing_the_world_leaves_torch_out():
    """In a process of its own; what a library might bring along would be seen too.
    Matplotlib waits for a figure."""
    modules = sorted(module for module in FILES if short(module) in WORLD)
    script = f"import sys\nimport {', '.join(modules)}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "matplotlib"} & set(done.stdout.split()) and modules[0] in done.stdout.split()
    assert len(modules) > 12


@pytest.mark.parametrize("module", [module for module in FILES if short(module) in
                                    "tasks verifier behaviour corpus config seeding".split()])
def test_tasks_and_verifier_stand_on_the_standard_library_alone(module):
    for name in reaches(module):
        others = FOREIGN[name] - sys.stdlib_module_names
        assert not others, f"{name} imports {others}"


@pytest.mark.parametrize("module, never", [
    ("model", "tasks tokenizer verifier corpus"), ("cache", "tasks tokenizer verifier corpus"),
    ("sampling", "tasks tokenizer verifier corpus"),
    ("policy", "tasks tokenizer verifier corpus"), ("stats", "tasks tokenizer model"),
    ("token_math", "tasks tokenizer model"),
    ("verifier", "behaviour corpus"),
    ("ppo", "metrics checkpoint plots report"), ("grpo", "metrics checkpoint plots report"),
    ("sft", "metrics checkpoint plots report"),
])
def test_what_a_file_does_not_know(module, never):
    known = {short(name) for name in OURS[f"minireason.{module}"]}
    assert not known & set(never.split())


# -----------------------------------------------------------------------------
# Nothing is evaluated, nothing is unpickled

def unsafe_calls(source):
    """Calls of eval and exec, of torch.load without weights_only=True, and imports of pickle and its like."""
    tree = ast.parse(source)
    torches = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
               for alias in node.names if alias.name == "torch"}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            name, of = (node.id, "") if isinstance(node, ast.Name) else (node.attr, ast.unparse(node.value))
            if name in ("eval", "exec", "__import__") and of in ("", "builtins", "__builtins__"):
                found.append(name)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
            safe = any(k.arg == "weights_only" and isinstance(k.value, ast.Constant) and k.value.value is True
                       for k in node.keywords)
            if ast.unparse(node.func.value) in torches and not safe:
                found.append("torch.load")
        if isinstance(node, ast.ImportFrom) and node.module == "torch":
            found += ["from torch import load" for alias in node.names if alias.name == "load"]
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None)]
            found += [name for name in names if name in ("pickle", "marshal", "shelve", "dill", "joblib")]
    return found


@pytest.mark.parametrize("source, found", [
    ("eval('1')", ["eval"]), ("f = eval", ["eval"]), ("exec(text)", ["exec"]),
    ("import builtins\nbuiltins.eval('1')", ["eval"]), ("__import__('os')", ["__import__"]),
    ("import torch\ntorch.load(p)", ["torch.load"]),
    ("import torch as t\nt.load(p, weights_only=False)", ["torch.load"]),
    ("import torch\ntorch.load(p, weights_only=flag)", ["torch.load"]),
    ("from torch import load", ["from torch import load"]),
    ("import pickle", ["pickle"]), ("from pickle import loads", ["pickle"]),
    ("import torch\ntorch.load(p, weights_only=True)", []), ("model.eval()", []), ("json.load(f)", []),
    ("evaluate(x)", []), ("'eval(1)'  # exec(2)", []),
])
def test_unsafe_calls_are_seen(source, found):
    assert unsafe_calls(source) == found


@pytest.mark.parametrize("module", sorted(FILES))
def test_nothing_is_evaluated_and_no_pickle_is_loaded(module):
    assert unsafe_calls(SOURCES[module]) == []


# -----------------------------------------------------------------------------
# Types

UNSAID = {"self"}


def without_types(tree):
    """Functions and methods, none within another, that leave a parameter or what they return without a
    type."""
    found = []
    for node in [*tree.body, *(each for node in tree.body if isinstance(node, ast.ClassDef)
                               for each in node.body)]:
        if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_")
                                                  or node.name in ("__init__", "__call__")):
            parameters = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            missing = [a.arg for a in parameters if not a.annotation and a.arg not in UNSAID]
            if missing or node.returns is None and node.name != "__init__":
                found.append(node.name)
    return found


def test_missing_types_are_seen():
    source = ("def a(x): pass\ndef b(x: int): pass\ndef c(x: int) -> int: pass\ndef _d(x): pass\n"
              "class E:\n    def __init__(self, y): pass\n    def f(self) -> int:\n        def g(x): pass\n"
              "    def h(self, *, k=1) -> int: pass")
    assert without_types(ast.parse(source)) == ["a", "b", "__init__", "h"]


@pytest.mark.parametrize("module", sorted(FILES))
def test_public_functions_say_what_they_take_and_return(module):
    assert without_types(ast.parse(SOURCES[module])) == []


# -----------------------------------------------------------------------------
# What lessons, studies and tests take from the package is there. Running them all takes minutes.

def missing_names(source):
    """What a source takes from modules of the package that they do not have: `rejection.judge`, say.

    It may be imported, read as an attribute of a module, or named for patch.object.
    """
    taken, modules, tree = [], {}, ast.parse(source)        # (module, name), {local name: module}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("minireason"):
            for alias in node.names:
                if f"{node.module}.{alias.name}" in FILES:
                    modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                else:
                    taken.append((node.module, alias.name))
    rebound = set()         # names that stand for something else, too
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            rebound.add(node.id)
        elif isinstance(node, ast.arg):
            rebound.add(node.arg)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            taken.append((node.value.id, node.attr))
        is_patch = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("patch.object")
        if is_patch and isinstance(node.args[0], ast.Name) and isinstance(node.args[1], ast.Constant):
            taken.append((node.args[0].id, node.args[1].value))
    missing = set()
    for module, name in taken:
        full_name = module if module in FILES else modules.get(module)
        if full_name and module not in rebound and not hasattr(importlib.import_module(full_name), name):
            missing.add(f"{full_name}.{name}")
    return missing


def test_a_name_that_is_not_there_is_seen():
    source = ("from minireason import grpo, rejection\nfrom minireason.token_math import k1, k9\n"
              "grpo.train\nrejection.judge\npatch.object(grpo, 'nothing')\npatch.object(grpo, 'mean_of')\n")
    assert missing_names(source) == {"minireason.token_math.k9", "minireason.rejection.judge",
                                     "minireason.grpo.nothing"}


USERS = [*sorted((ROOT / "lessons").rglob("*.py")), *sorted((ROOT / "tests").rglob("*.py"))]


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.stem)
def test_what_a_file_takes_from_the_package_is_there(path):
    assert missing_names(path.read_text(encoding="utf-8")) == set()
