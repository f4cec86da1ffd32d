"""Dependencies point one way, and importing the package stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import ecgvision

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = ROOT / "plugins"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LONGEST_MODULE = 500
HEAVY = ("torch", "cv2", "pymupdf", "scipy", "skimage", "sklearn", "pandas", "numpy", "PIL")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of all that a file imports, also within functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "." * node.level + (node.module or "")
            elif node.module == "ecgvision":
                yield from ((node.lineno, f"ecgvision:{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


def test_contracts_of_import_linter() -> None:
    pytest.importorskip("importlinter")
    done = _python(
        "-c",
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_formats_import_only_what_ecgvision_exports() -> None:
    wrong = []
    for path in PLUGINS.rglob("*.py"):
        is_test = "tests" in path.relative_to(PLUGINS).parts
        for line, name in imported(path):
            if name.startswith("ecgvision:"):
                fine = name.removeprefix("ecgvision:") in ecgvision.__all__
            elif name.startswith("ecgvision."):
                fine = is_test and name.startswith("ecgvision.testing")
            else:
                fine = name != "fitz" and not name.startswith("pymupdf")
            if not fine:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_the_core_names_no_format() -> None:
    bundled = {path.name for path in PLUGINS.iterdir() if path.name.startswith("ecgvision_")}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in (ROOT / "ecgvision").rglob("*.py")
        for line, name in imported(path)
        if name.split(".")[0] in bundled
    ]
    assert not wrong, "\n".join(wrong)


def test_every_bundled_format_is_in_the_wheel_and_under_the_contracts() -> None:
    bundled = {path.name for path in PLUGINS.glob("ecgvision_*") if (path / "__init__.py").exists()}
    project, tool = PROJECT["project"], PROJECT["tool"]
    packages = set(tool["hatch"]["build"]["targets"]["wheel"]["packages"])
    contracts = {contract["id"]: contract for contract in tool["importlinter"]["contracts"]}
    assert set(project["entry-points"]["ecgvision"].values()) == bundled
    assert packages == {"ecgvision", *(f"plugins/{name}" for name in bundled)}
    assert set(tool["importlinter"]["root_packages"]) == {"ecgvision", *bundled}
    assert set(contracts["formats"]["forbidden_modules"]) == bundled
    assert set(contracts["formats-apart"]["modules"]) == bundled
    assert set(contracts["pdf"]["source_modules"]) == {"ecgvision", *bundled}


def test_all_extras_are_in_all() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    named = extras["all"][0].removeprefix("ecgvision[").removesuffix("]").split(",")
    assert set(named) == set(extras) - {"all", "dev"}


def test_modules_stay_short() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in ("ecgvision", "plugins")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n >= LONGEST_MODULE} == {}


@pytest.mark.parametrize("name", ecgvision.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(ecgvision, name) is not None


def test_no_module_hides_a_public_name() -> None:
    # Importing a submodule binds its name in the package: `ecgvision.convert` must stay a function.
    walk = "import ecgvision, pkgutil, importlib, types\n"
    walk += "for m in pkgutil.walk_packages(ecgvision.__path__, 'ecgvision.'):\n"
    walk += "    m.name.endswith('__main__') or importlib.import_module(m.name)\n"
    walk += "hidden = [n for n in ecgvision.__all__\n"
    walk += "          if isinstance(getattr(ecgvision, n), types.ModuleType)]\n"
    walk += "assert not hidden, hidden\n"
    done = _python("-c", walk)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "code",
    ["import ecgvision", "from ecgvision.cli import main; main(['--help'], standalone_mode=False)"],
    ids=["import", "help"],
)
def test_start_is_light_and_quick(code: str) -> None:
    listed = _python("-c", f"{code}\nimport sys; print(' '.join(sys.modules), file=sys.stderr)")
    assert listed.returncode == 0, listed.stderr
    loaded = {name.split(".")[0] for name in listed.stderr.split()}
    assert loaded.isdisjoint(HEAVY), loaded.intersection(HEAVY)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert _python("-c", code).returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.25, seconds


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
