"""What the README promises is what the repository has."""

import re
import subprocess
from pathlib import Path

import yaml

from taskgate.policy.load import load_files

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
RESOURCE = """
kind: Resource
name: shop
protocol: postgres
address: localhost:5432
credential: {username: reports, password: {env: PASSWORD}}
database: shop
"""


def test_every_make_target_named_in_a_page_exists() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        named = set(re.findall(r"`?make ([a-z]+(?:-[a-z]+)*)[`\s]", page.read_text()))
        code = {one for one in named if f"`make {one}" in page.read_text()}
        assert code <= known, f"{page.name}: no such target: {code - known}"


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory", "help"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    phony = re.findall(r"^\.PHONY: ([a-z-]+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in phony:
        if target != "help":
            assert f"make {target} " in shown


def test_the_readmes_task_is_a_valid_policy() -> None:
    block = next(
        b for b in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "kind: Task" in b
    )
    assert yaml.safe_load(block)["name"] == "sales-report"
    policy = load_files({"resource.yaml": RESOURCE, "task.yaml": block})
    assert set(policy.tasks) == {"sales-report"}


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
