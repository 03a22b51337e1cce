"""Runs hacli, in this process, over a corpus of crmsh texts and their CIBs; see `test_crmsh_corpus`.

The corpus and its comparer are not part of this repository: HACLUSTER_CRMSH_CORPUS names the folder, the
comparer is `../tools/crmsh_compare.py` beside it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cli.__main__ import main

VARIABLE = "HACLUSTER_CRMSH_CORPUS"


@dataclass
class Tally:
    """How many checks of a kind ran, and which failed at each level."""

    ran: int = 0
    strict: int = 0
    loose: int = 0
    failed: list[str] = field(default_factory=list)

    def add(self, name: str, strict: bool, loose: bool) -> None:
        self.ran += 1
        self.strict += strict
        self.loose += loose
        if not loose:
            self.failed.append(name)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Run in a folder: scripts name files relative to it."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def hacli(*words: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of one run."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    return status, out.getvalue(), err.getvalue()


def comparer_of(folder: Path) -> Path:
    """Where the comparer of a corpus is."""
    return folder.parent / "tools" / "crmsh_compare.py"


def load_comparer(folder: Path) -> Any:
    """The comparer beside a corpus, as a module; skips the test when there is none."""
    path = comparer_of(folder)
    if not path.exists():
        pytest.skip(f"there is no comparer at {path}")
    spec = importlib.util.spec_from_file_location("crmsh_compare", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Corpus:
    """The cases of a corpus, run one by one."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self.cases: list[dict[str, Any]] = json.loads((folder / "index.json").read_text())["cases"]
        self.comparer = load_comparer(folder)
        self.tallies: dict[str, Tally] = {}
        self.why: dict[str, str] = {}

    def run(self, wanted: Callable[[str], bool] = lambda _name: True) -> dict[str, Tally]:
        """Run all checks of all cases; the tallies by kind of check."""
        for case in self.cases:
            if wanted(case["name"]):
                self._case(case)
        return self.tallies

    def _note(self, check: str, name: str, strict: bool, loose: bool, why: str) -> None:
        self.tallies.setdefault(check, Tally()).add(name, strict, loose)
        if not strict:
            self.why[f"{check} {name}"] = why

    def _work(self, name: str, start: Path) -> tuple[Path, str]:
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder / name, folder)
        cib = folder / "cib.xml"
        shutil.copy(start, cib)
        cib.chmod(0o644)
        return folder, str(cib)

    def _start(self, name: str) -> Path:
        own = self.folder / name / "start.xml"
        return own if own.exists() else self.folder / "empty.xml"

    def _case(self, case: dict[str, Any]) -> None:
        name = case["name"]
        match case["kind"]:
            case "query":
                self._query(name)
                return
            case "error":
                self._error(name, case["how"])
                return
            case "load":
                self._change("load", name, self._start(name), ("configure", "load", "update", "input.crm"))
            case "script":
                self._change("script", name, self._start(name), (), ("-f", "input.crm"))
            case _:  # "show": only the checks below
                pass
        if case.get("show", True):
            self._show(name)
        if case.get("reload"):
            self._change(
                "reload",
                name,
                self.folder / "empty.xml",
                ("configure", "load", "update", "shown.crm"),
                loosely=case["reload"] == "loose",
            )

    def _change(
        self,
        check: str,
        name: str,
        start: Path,
        words: Sequence[str],
        options: Sequence[str] = (),
        *,
        loosely: bool = False,
    ) -> None:
        folder, cib = self._work(name, start)
        with inside(folder):
            status, _out, err = hacli("--cib-file", cib, *options, *words)
        if status != 0:
            self._note(check, name, False, False, err)
            return
        self._compare(check, name, Path(cib).read_text(), self.comparer.canon, "expected.xml", loosely)

    def _compare(
        self, check: str, name: str, got: str, canon: Callable[..., Any], expected: str, loosely: bool = False
    ) -> None:
        want = (self.folder / name / expected).read_text()
        loose = canon(want, "loose") == canon(got, "loose")
        strict = loose if loosely else canon(want, "strict") == canon(got, "strict")
        why = self.comparer.diff(canon(want, "strict"), canon(got, "strict"), check)
        self._note(check, name, strict, loose, why)

    def _show(self, name: str) -> None:
        _folder, cib = self._work(name, self.folder / name / "expected.xml")
        _status, text, _err = hacli("--cib-file", cib, "configure", "show")
        self._compare("show", name, text, self.comparer.show_lines, "shown.crm")
        _status, text, _err = hacli("--cib-file", cib, "configure", "show", "xml")
        self._compare("xmlshow", name, text, self.comparer.canon, "expected.xml")

    def _query(self, name: str) -> None:
        folder, cib = self._work(name, self.folder / name / "expected.xml")
        words = shlex.split((folder / "args.txt").read_text())
        status, out, err = hacli("--cib-file", cib, *words)
        if status != 0:
            self._note("query", name, False, False, err)
            return
        is_xml = "<cib" in (folder / "shown.crm").read_text()
        canon = self.comparer.canon if is_xml else self.comparer.show_lines
        self._compare("query", name, out, canon, "shown.crm")

    def _error(self, name: str, how: str) -> None:
        start = self._start(name)
        folder, cib = self._work(name, start)
        options: tuple[str, ...] = ("-f", "input.crm") if how == "script" else ()
        words = () if how == "script" else ("configure", "load", "update", "input.crm")
        with inside(folder):
            status, out, err = hacli("--cib-file", cib, *options, *words)
        same = self.comparer.canon(start.read_text()) == self.comparer.canon(Path(cib).read_text())
        fine = status != 0 and bool(out + err) and "Traceback" not in err and same
        self._note(
            "error", name, fine, fine, f"status {status}, CIB {'as before' if same else 'changed'}: {err}"
        )
