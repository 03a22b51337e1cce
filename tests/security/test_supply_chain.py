"""What is installed is locked and has no published hole; no module of ours runs what it is given."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PACKAGES = ("hacluster", "messaging", "crm", "lrm", "agents", "cli")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
ALLOWED = {
    ("hacluster/records.py", "exec"),  # constructors, made of a class's own names
    ("cli/commands/configure.py", "shell=True"),  # `configure filter COMMAND`: the user's own shell, as typed
}
CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.load", "tempfile.mktemp"}
MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "yaml"}


def locked() -> dict[str, tuple[Version, int]]:
    """Each package of the lock file, with its version and how many hashes it has."""
    found: dict[str, tuple[Version, int]] = {}
    text = (ROOT / "requirements-dev.lock").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        name, equal, version = words[0].partition("==")
        assert equal, f"{line!r} is not pinned"
        found[canonicalize_name(name)] = Version(version), len(HASH.findall(line))
    return found


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def advisories() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    document = tomllib.loads((Path(__file__).parent / "advisories.toml").read_text())
    assert isinstance(document["reviewed"], date)
    for one in document["advisory"]:
        assert one["affected"]
        found.setdefault(canonicalize_name(one["package"]), []).append(one)
    return found


def holes(name: str, version: Version) -> list[str]:
    """The advisories about that version."""
    return [
        f"{name} {version}: {one['id']}, {one['what']}"
        for one in advisories().get(canonicalize_name(name), ())
        if any(SpecifierSet(ranges).contains(version, prereleases=True) for ranges in one["affected"])
    ]


def least(requirement: Requirement) -> Version | None:
    bounds = [Version(one.version) for one in requirement.specifier if one.operator in (">=", "==", "~=")]
    return max(bounds, default=None)


def test_the_lock_names_one_version_and_its_hashes() -> None:
    found = locked()
    assert len(found) > 20
    assert [name for name, (_, hashes) in found.items() if not hashes] == []


def test_all_that_is_asked_for_is_locked() -> None:
    stated = project()
    found = locked()
    asked = [*stated["project"]["dependencies"], *stated["dependency-groups"]["dev"]]
    for requirement in (Requirement(text) for text in asked):
        version, _ = found[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), (str(requirement), version)


def test_nothing_locked_has_a_published_hole() -> None:
    assert [hole for name, (version, _) in locked().items() for hole in holes(name, version)] == []


def test_nothing_that_may_be_installed_has_one() -> None:
    """Whoever installs the package without the lock gets no older version than is safe."""
    found = []
    for text in project()["project"]["dependencies"]:
        requirement = Requirement(text)
        version = least(requirement)
        assert version is not None, f"{text}: any version would do"
        found += holes(requirement.name, version)
    assert found == []


@pytest.mark.parametrize(
    ("name", "version", "known"),
    [
        ("protobuf", "6.31.0", ["CVE-2025-4565", "CVE-2026-0994"]),
        ("Protobuf", "6.33.5", []),
        ("cryptography", "42.0.8", ["GHSA-h4gh-qq45-vh27", "CVE-2024-12797", "CVE-2026-26007"]),
        ("structlog", "1.0", []),
    ],
)
def test_the_list_is_read_rightly(name: str, version: str, known: list[str]) -> None:
    found = holes(name, Version(version))
    assert [hole.split(": ")[1].split(",")[0] for hole in found] == known


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(tree: ast.AST) -> Iterator[str]:
    """What runs, or builds objects from, what it is given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if _name(node.func) in CALLS:
                yield _name(node.func)
            for word in node.keywords:
                if word.arg == "shell" and not (
                    isinstance(word.value, ast.Constant) and not word.value.value
                ):
                    yield "shell=True"
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield node.module or ""


def test_nothing_of_ours_runs_what_it_is_given() -> None:
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(), filename=str(path))
            found |= {(path.relative_to(ROOT).as_posix(), what) for what in dangers(tree)}
    assert found == ALLOWED


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)",
        "import pickle",
        "from pickle import loads",
        "run(x, shell=True)",
        "run(x, shell=y)",
        "os.system(x)",
    ],
)
def test_each_danger_is_seen(text: str) -> None:
    assert list(dangers(ast.parse(text)))


def test_rules_of_security_are_errors() -> None:
    lint = project()["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert {rule for rule in lint["ignore"] if re.match(r"S\d", rule)} <= {"S101", "S603", "S607"}
    for pattern, rules in lint["per-file-ignores"].items():
        assert "S" not in rules or pattern.partition("/")[0] in ("tests", "benchmarks"), pattern
