"""What the documents show must be true: the README's program runs, and every link leads somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
DOCUMENTS = sorted([*TOP.glob("*.md"), *TOP.glob("docs/*.md"), *TOP.glob("examples/*.md"), *TOP.glob("benchmarks/*.md")])


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_program_in_the_readme_runs(tmp_path: Path) -> None:
    program = blocks(TOP / "README.md", "python")[0]
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    refused, state, recovered = done.stdout.splitlines()
    assert "leased" in refused
    assert state.startswith("leased Lease(owner='worker-1'")
    assert recovered.startswith("replayed 5 events from 1 segment after a clean close")


def test_the_programs_first_screen_is_short() -> None:
    assert len(blocks(TOP / "README.md", "python")[0].splitlines()) <= 25


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target


def test_the_architecture_names_every_file_of_the_core() -> None:
    text = (TOP / "docs" / "architecture.md").read_text("utf-8")
    patterns = [re.escape(name).replace(r"\*", ".*") for name in re.findall(r"`(?:core/)?([\w*.]+)`", text)]
    for path in (TOP / "src" / "_wal_native" / "core").glob("*.[ch]"):
        assert any(re.fullmatch(pattern, path.name) for pattern in patterns), path.name
