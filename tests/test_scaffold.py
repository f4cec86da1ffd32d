"""A new format's package: valid, clean, installable, and it passes the contract."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ecgvision
from ecgvision.errors import UsageError
from ecgvision.plugins import build_formats
from ecgvision.scaffold import new_format

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return new_format("acme-cardio", tmp_path)


def test_its_files(package: Path) -> None:
    written = {str(p.relative_to(package)) for p in package.rglob("*") if p.is_file()}
    assert package.name == "ecgvision-acme-cardio"
    assert written == {
        "README.md",
        "ecgvision_acme_cardio/__init__.py",
        "pyproject.toml",
        "tests/test_format.py",
    }


def test_no_placeholder_is_left(package: Path) -> None:
    for path in package.rglob("*"):
        if path.is_file():
            assert "$" not in path.read_text(), path


def test_its_python_compiles(package: Path) -> None:
    for path in package.rglob("*.py"):
        compile(path.read_text(), str(path), "exec")


def test_its_entry_point_names_its_module(package: Path) -> None:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["name"] == "ecgvision-acme-cardio"
    assert project["entry-points"]["ecgvision"] == {"acme-cardio": "ecgvision_acme_cardio"}
    assert project["dependencies"] == [f"ecgvision>={ecgvision.__version__}"]


def test_its_test_is_three_lines(package: Path) -> None:
    lines = (package / "tests" / "test_format.py").read_text().splitlines()
    assert [line for line in lines if line] == [
        "from ecgvision.testing import FormatContract",
        "class TestAcmeCardio(FormatContract):",
        '    format_id = "acme-cardio"',
    ]


@pytest.mark.parametrize("config", ["--isolated", f"--config={ROOT / 'pyproject.toml'}"])
def test_ruff_finds_nothing(package: Path, config: str) -> None:
    pytest.importorskip("ruff", reason="ruff is not installed")
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        width = ["--line-length=100"] if config == "--isolated" else []
        code = [str(package / "ecgvision_acme_cardio")]
        done = _python("-m", "ruff", *command, config, *width, *code)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_manager_takes_it(package: Path) -> None:
    path = package / "ecgvision_acme_cardio" / "__init__.py"
    spec = importlib.util.spec_from_file_location("ecgvision_acme_cardio", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    formats = build_formats([("acme-cardio", module)])
    assert formats.broken == ()
    (acme,) = formats.formats
    assert acme.info.id == "acme-cardio"
    (layout,) = acme.layouts
    assert layout.name == "3x4+1R"
    assert [b.lead for b in layout.twelve] == list(ecgvision.LEADS)
    assert [b.lead for b in layout.boxes if b.rhythm_strip] == ["II"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Acme Cardio", "try 'acme-cardio'"),
        ("acme_cardio", "try 'acme-cardio'"),
        ("-acme", "try 'acme'"),
        ("acme--cardio", "try 'acme-cardio'"),
        ("../acme", "try 'acme'"),
        ("acme\n", "try 'acme'"),
        ("3acme", "small letter first"),
        ("", "small letter first"),
        ("ärzte", "small letter first"),
        ("a" * 41, "40 characters"),
        ("auto", "meaning of its own"),
        ("custom", "meaning of its own"),
        ("philips-tc30", "installed already"),
        ("ge", "installed already"),
    ],
)
def test_names_that_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        new_format(name, tmp_path, taken={"philips-tc30", "GE"})
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "ecgvision-acme" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        new_format("acme", tmp_path)
    assert [p.name for p in mine.parent.iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        new_format("acme", tmp_path / "file")


@pytest.mark.slow
def test_it_installs_and_passes_the_contract(package: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    quiet = ["--quiet", "--disable-pip-version-check", "--no-index"]
    apart = ["--no-deps", "--no-build-isolation", "--target", str(site)]
    done = _python("-m", "pip", "install", *quiet, *apart, str(package))
    assert done.returncode == 0, done.stdout + done.stderr
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    done = _python("-m", "pytest", "-q", "-W", "error", cwd=package, PYTHONPATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    listed = _python("-m", "ecgvision", "formats", "list", cwd=tmp_path, PYTHONPATH=path)
    assert listed.returncode == 0, listed.stderr
    assert "acme-cardio" in listed.stdout


def _python(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
