"""CIB -> text -> CIB is the identity, for every CIB of the scheduler corpus (HACLUSTER_SCHEDULER_CORPUS)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.grammar.definitions import parse_text
from cli.grammar.document import empty_cib
from cli.grammar.exact import exact
from cli.grammar.load import load
from cli.grammar.show import show
from crm.cib import codec
from crm.cib.model import Element
from tests.cib_contents import contents
from tests.conformance.crmsh import hacli, load_comparer

FOLDER = os.environ.get("HACLUSTER_SCHEDULER_CORPUS", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="HACLUSTER_SCHEDULER_CORPUS names no corpus")


def files() -> list[Path]:
    return sorted((Path(FOLDER) / "xml").glob("*.xml"))


def read_back(text: str) -> Element:
    return load(empty_cib(), parse_text(text, "text"), source="text").cib


@pytest.mark.slow
def test_exact_text_is_the_identity() -> None:
    assert len(files()) > 500
    for path in files():
        cib = codec.parse(path.read_bytes(), source=path.name)
        assert contents(read_back(exact(cib))) == contents(cib), path.name


@pytest.mark.slow
def test_shown_text_is_the_same_but_for_ids_of_parts() -> None:
    comparer = load_comparer(Path(FOLDER))
    for path in files():
        cib = codec.parse(path.read_bytes(), source=path.name)
        before, after = codec.render(cib), codec.render(read_back(show(cib)))
        assert comparer.canon(after, "loose") == comparer.canon(before, "loose"), path.name


@pytest.mark.slow
def test_saved_and_loaded_by_the_commands(tmp_path: Path) -> None:
    """The same through the program, for some of them: `save --exact`, then `load replace` on an empty CIB."""
    text, other = tmp_path / "text.crm", tmp_path / "other.xml"
    for path in files()[::25]:
        cib = codec.parse(path.read_bytes(), source=path.name)
        status, _out, err = hacli("--cib-file", str(path), "configure", "save", "--exact", str(text))
        assert status == 0, err
        other.write_text(codec.render(empty_cib()))
        status, _out, err = hacli("-F", "--cib-file", str(other), "configure", "load", "replace", str(text))
        assert status == 0, (path.name, err)
        assert contents(codec.parse(other.read_bytes())) == contents(cib), path.name
