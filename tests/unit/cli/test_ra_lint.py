"""Init scripts are tried out: what a cluster needs of them, and what comes of it otherwise."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from agents.catalog import Catalog
from tests.unit.cli.runner import hacli

SCRIPT = """#!/bin/sh
echo "$1" >> {folder}/log
case "$1:{wrong}" in
  start:never) exit 1 ;;
  start:twice) test ! -e {folder}/runs || exit 1 ;;
  status:always) exit 0 ;;
  status:one) test -e {folder}/runs || exit 1 ;;
  stop:twice_stopped) test -e {folder}/runs || exit 1 ;;
  stop:never_stopped) exit 0 ;;
esac
case $1 in
  start) touch {folder}/runs; sleep 60 & echo $! >> {folder}/pids ;;
  stop) rm -f {folder}/runs ;;
  status) test -e {folder}/runs || exit 3 ;;
  *) exit 2 ;;
esac
"""
STEPS = ["start", "status", "start", "status", "stop", "status", "stop"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    here = replace(Catalog.of_this_node(), lsb_folder=tmp_path / "init.d")
    monkeypatch.setattr(Catalog, "of_this_node", classmethod(lambda _cls: here))
    monkeypatch.setenv("CIB_file", str(tmp_path / "cib.xml"))
    (tmp_path / "cib.xml").write_text("<cib><configuration><resources/></configuration><status/></cib>")
    (tmp_path / "init.d").mkdir()
    yield tmp_path
    pids = tmp_path / "pids"
    for pid in pids.read_text().split() if pids.exists() else ():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def a_script(folder: Path, wrong: str = "") -> None:
    path = folder / "init.d/old"
    path.write_text(SCRIPT.format(folder=folder, wrong=wrong))
    path.chmod(0o755)


def lint(*words: str) -> tuple[int, str]:
    return hacli(["ra", "lint", *(words or ("lsb:old",))])


def test_one_that_is_fit(folder: Path) -> None:
    """What it started keeps its output open, and holds nobody up."""
    a_script(folder)
    status, text = lint()
    assert (status, text.splitlines()[-1]) == (0, "lsb:old: fit for a cluster")
    assert [line.split(": ")[0] for line in text.splitlines() if line.endswith(": ok")] == STEPS
    assert (folder / "log").read_text().split() == ["status", *STEPS]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("twice", "start: WRONG, 1 instead of 0: starting what runs is success"),
        ("twice_stopped", "stop: WRONG, 1 instead of 0: stopping what is stopped is success"),
        ("never_stopped", "status: WRONG, 0 instead of 3: it is believed to run here"),
        ("never", "start: WRONG, 1 instead of 0: it counts as failed"),
    ],
)
def test_what_is_wrong_is_said_with_what_comes_of_it(folder: Path, wrong: str, said: str) -> None:
    a_script(folder, wrong)
    status, text = lint()
    assert status == 1
    assert said in text
    assert "not fit for a cluster" in text.splitlines()[-1]


def test_after_a_start_that_failed_it_is_stopped(folder: Path) -> None:
    a_script(folder, "never")
    lint()
    assert (folder / "log").read_text().split() == ["status", "start", "stop"]


@pytest.mark.parametrize(("wrong", "said"), [("always", "is running here"), ("one", "status says 1, not 3")])
def test_nothing_is_tried_unless_it_is_stopped(folder: Path, wrong: str, said: str) -> None:
    a_script(folder, wrong)
    status, text = lint()
    assert status == 1
    assert said in text
    assert (folder / "log").read_text().split() == ["status"]


@pytest.mark.parametrize("standard", ["lsb", "service"])
def test_a_resource_of_the_cluster_is_left_alone(folder: Path, standard: str) -> None:
    """It may run on another node."""
    a_script(folder)
    primitive = f'<primitive id="p" class="{standard}" type="old"/>'
    (folder / "cib.xml").write_text(
        f"<cib><configuration><resources>{primitive}</resources></configuration><status/></cib>"
    )
    status, text = lint()
    assert status == 1
    assert "old is the cluster's resource p" in text
    assert not (folder / "log").exists()


def test_what_is_no_init_script(folder: Path) -> None:
    assert lint("ocf:hacluster:Dummy")[0] == 1
    assert lint("lsb:nosuch")[0] == 1
    assert hacli(["ra", "lint"])[0] == 2
