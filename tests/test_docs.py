"""The README's examples and the pages of the documentation run, step by step.

Run are: in the README every `sh` and `python` block that no `<!-- not run -->` stands above; in
`docs/` every code-block with `:class: run`, while one with a `:caption:` is written to that file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ecgvision.zoo.links import local_links

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

_FENCE = re.compile(
    r"^(?P<skip><!-- not run -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_CODE_BLOCK = re.compile(
    r"^```\{code-block\} (?P<language>\w+)\n(?P<options>(?::[^\n]*\n)*)\n*(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Step:
    """One block of a page: to be run, or to be written to `file`."""

    line: int
    language: str
    code: str
    file: str | None = None


def readme_steps(text: str) -> list[Step]:
    return [
        Step(_line(text, found.start("code")), found["language"], found["code"])
        for found in _FENCE.finditer(text)
        if found["language"] in ("sh", "python") and not found["skip"]
    ]


def page_steps(text: str) -> list[Step]:
    steps = []
    for found in _CODE_BLOCK.finditer(text):
        options = dict(re.findall(r"^:(\w+): *(.*)$", found["options"], re.MULTILINE))
        if "caption" in options or options.get("class") == "run":
            line = _line(text, found.start("code"))
            steps.append(Step(line, found["language"], found["code"], options.get("caption")))
    return steps


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


class Workshop:
    """A folder to follow a page in, with a Python of its own to install things into.

    Its Python sees the packages of the one that runs the tests, and leaves them alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        home = folder / "venv"
        _check([sys.executable, "-m", "venv", "--without-pip", str(home)])
        self.python = home / "bin" / "python"
        here = {"base": str(home), "platbase": str(home)}
        site = Path(sysconfig.get_path("purelib", vars=here))
        ours = sysconfig.get_path("purelib")
        (site / "tests.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        pip = '-m pip --quiet --disable-pip-version-check "$1" --no-deps --no-build-isolation '
        commands = {
            "ecgvision": '-m ecgvision "$@"',
            "pytest": '-m pytest "$@"',
            "pip": pip + '--no-index "${@:2}"',
        }
        for name, arguments in commands.items():
            script = home / "bin" / name
            script.write_text(f'#!/bin/bash\nexec "{self.python}" {arguments}\n')
            script.chmod(0o755)
        path = os.pathsep.join([str(home / "bin"), os.environ.get("PATH", "")])
        self.environment = {**os.environ, "PATH": path}

    def follow(self, step: Step, page: Path) -> None:
        """Do what the block says; fail with the page and line where it does not work."""
        if step.file is not None:
            path = self.folder / step.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.code, encoding="utf-8")
            return
        command = {
            "sh": ["bash", "-euo", "pipefail", "-c", step.code],
            "python": [str(self.python), "-W", "error", "-c", step.code],
        }[step.language]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, (
            f"{page.relative_to(ROOT)}, line {step.line}, exit {done.returncode}:\n"
            f"{step.code}\n{done.stdout}\n{done.stderr}"
        )


def _check(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=120)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    if sys.platform == "win32":
        pytest.skip("the examples are written for a POSIX shell")
    return Workshop(tmp_path)


def documents() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield from sorted(DOCS.glob("*.md"))


def steps_of(page: Path) -> list[Step]:
    text = page.read_text(encoding="utf-8")
    return readme_steps(text) if page.parent == ROOT else page_steps(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in documents() if steps_of(page)], ids=lambda page: page.name
)
def test_the_page_can_be_followed(page: Path, workshop: Workshop) -> None:
    for step in steps_of(page):
        workshop.follow(step, page)


def test_the_pages_have_steps() -> None:
    counts = {page.name: len(steps_of(page)) for page in documents()}
    assert counts["README.md"] == 2
    assert counts["write-a-format.md"] >= 8
    assert counts["hooks.md"] == 5


def test_the_ten_lines_of_the_readme_are_ten() -> None:
    (library,) = [step for step in steps_of(ROOT / "README.md") if step.language == "python"]
    assert len([line for line in library.code.splitlines() if line]) <= 10


def test_the_tutorial_promises_what_it_adds_up_to() -> None:
    text = (DOCS / "write-a-format.md").read_text(encoding="utf-8")
    minutes = [int(found) for found in re.findall(r"^## .*\((\d+) minutes?\)$", text, re.MULTILINE)]
    assert sum(minutes) == 30


def test_links_lead_somewhere() -> None:
    for page in [*documents(), ROOT / "CONTRIBUTING.md"]:
        found = local_links(page.read_text(encoding="utf-8"))
        # What has no ending is a label of MyST's, which the build looks for.
        for target in [one for one in found if Path(one).suffix or one == "LICENSE"]:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.slow
def test_the_documentation_builds(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    command = ["-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d"]
    folders = [str(tmp_path / "trees"), str(DOCS), str(tmp_path / "html")]
    done = subprocess.run(
        [sys.executable, *command, *folders],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "write-a-format.html").exists()
