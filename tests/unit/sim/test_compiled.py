"""The compiled simulator plays what the other one plays, from the files that are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim import compiled

MODULE = "messaging/membership/quorum.py"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One module, compiled: all of them take a minute."""
    return compiled.built([MODULE], tmp_path_factory.mktemp("builds"))


def played(before: str) -> list[str]:
    """Where the module came from, and the trace of a run with it."""
    program = (
        f"{before}\n"
        "from messaging.membership import quorum\n"
        "from tests.sim import all_classes\n"
        "run = all_classes.REGISTRY['chaos3'](5)\n"
        "run.play()\n"
        "print(quorum.__file__, run.world.trace_hash)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=compiled.ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.split()


@pytest.mark.slow
def test_a_compiled_module_is_used_and_the_run_is_the_same(build: Path) -> None:
    use = f"from pathlib import Path; from tests.sim import compiled; compiled.use(Path({str(build)!r}))"
    source, plain = played("")
    extension, fast = played(use)
    assert source.endswith("quorum.py")
    assert Path(extension) == build / MODULE.replace(".py", compiled.SUFFIX)
    assert fast == plain


@pytest.mark.slow
def test_what_was_imported_before_is_not_left_as_it_is(build: Path) -> None:
    from messaging.membership import quorum

    assert quorum.__file__ is not None
    with pytest.raises(RuntimeError, match=r"imported before .*: messaging\.membership\.quorum"):
        compiled.use(build)
    assert not compiled.active()


def test_a_build_is_of_the_files_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    (tmp_path / "one.py").write_text("A = 1\n", encoding="utf-8")
    before = compiled.named(["one.py"])
    assert compiled.named(["one.py"]) == before
    (tmp_path / "one.py").write_text("A = 2\n", encoding="utf-8")
    changed = compiled.named(["one.py"])
    assert changed != before
    # The code may have its constants, though it is not compiled itself.
    (tmp_path / "messaging").mkdir()
    (tmp_path / "messaging/other.py").write_text("B = 1\n", encoding="utf-8")
    assert compiled.named(["one.py"]) not in {before, changed}


def test_the_last_words_of_a_failed_build_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong.py").write_text("def f(a: int) -> str:\n    return a\n", encoding="utf-8")
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    with pytest.raises(compiled.BuildFailed, match="Incompatible return value"):
        compiled.built(["wrong.py"], tmp_path / "builds")
    assert not list((tmp_path / "builds").iterdir())


def test_mutants_are_not_played_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    assert compiled.main(["mutants"]) == 2
    assert "python -m tests.sim mutants" in capsys.readouterr().out
