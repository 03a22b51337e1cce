"""hacli on a terminal, as a person uses it, and a cluster that goes down below an open shell."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from cli.grammar.document import empty_cib
from crm.cib import codec
from tests.live.local_cluster import LocalCluster, LocalNode, until

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
WITHIN_S = 40
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r")
SITE = """\
node 1: node1
node 2: node2
primitive vip ocf:hacluster:Dummy
primitive web ocf:hacluster:Dummy
primitive db ocf:hacluster:Dummy
group site vip web
order web-then-db Mandatory: web db
property stonith-enabled=false
"""
PLANNED = (
    "+     params fake=3",
    "+ clone dbs db",
    "- order web-then-db Mandatory: web db\n",
    "+ order web-then-db Mandatory: web dbs\n",
    "The shell also:",
    "changes order web-then-db: web db -> web dbs",
    "because resource definition change",
    "Start    db:1",
    "In this order:",
    "1. stop db:0 on",
    "2. stop web on",
    "3. start web on",
    "4. start db:0 on",
)


class Terminal:
    """One hacli on a pseudo terminal."""

    def __init__(self, folder: Path, *words: str, **environment: str) -> None:
        own = {
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm",
            "PROMPT_TOOLKIT_NO_CPR": "1",  # nobody answers where the cursor is
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "HACLUSTER_ROOT": str(folder / "root"),
        }
        self.child: Any = pexpect.spawn(
            sys.executable,
            ["-m", "cli", *words],
            cwd=str(ROOT),
            env={**os.environ, **own, **environment},
            encoding="utf-8",
            timeout=WITHIN_S,
            dimensions=(50, 180),
        )

    def sees(self, text: str) -> str:
        """Wait for it; what came before it, without control sequences."""
        self.child.expect_exact(text)
        return ESCAPES.sub("", self.child.before)

    def prompt(self, level: str = "") -> str:
        """Wait for the prompt of a level; what was printed before it."""
        self.child.expect_exact(f"){level}#")
        return ESCAPES.sub("", self.child.before)

    def types(self, text: str) -> None:
        self.child.send(text)

    def enters(self, line: str) -> None:
        self.child.send(line + "\r")
        self.child.expect_exact("\x1b[?2004l")  # the line has been taken: what comes now is the answer

    def ends(self) -> int:
        self.child.expect(pexpect.EOF)
        self.child.close()
        return int(
            self.child.exitstatus if self.child.exitstatus is not None else 128 + self.child.signalstatus
        )


@pytest.fixture
def cib(tmp_path: Path) -> Path:
    path = tmp_path / "cib.xml"
    path.write_text(codec.render(empty_cib()))
    return path


@pytest.fixture
def running(cib: Path, tmp_path: Path) -> Path:
    """A CIB in which the site runs on two nodes."""
    from tests.unit.cli.runner import hacli

    (tmp_path / "site.crm").write_text(SITE)
    assert hacli(["--cib-file", str(cib), "apply", str(tmp_path / "site.crm")])[0] == 0
    for _ in range(3):
        words = ["simulate", "-x", str(cib), "-q", "true", "-u", "node1", "-u", "node2", "-X", "-Q"]
        assert hacli(words)[0] == 0
    return cib


def test_completion_help_and_leaving(cib: Path, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--cib-file", str(cib))
    terminal.prompt()
    terminal.types("configu\t")
    terminal.sees("re")  # only what is added is printed
    terminal.enters("")
    terminal.prompt("configure")
    terminal.enters("primitive web ocf:hacluster:Dummy")
    terminal.prompt("configure")
    terminal.types("group site w\t")
    terminal.sees("eb")
    terminal.enters("")
    terminal.prompt("configure")
    terminal.enters("help group")
    terminal.sees("group ID MEMBER…")
    terminal.prompt("configure")
    terminal.enters("show changed")
    terminal.sees("group site web")
    terminal.enters("quit")
    terminal.sees("Commit them? (y/n)")
    terminal.enters("n")
    assert terminal.ends() == 0
    assert "primitive" not in cib.read_text()


def test_an_error_points_to_its_column(cib: Path, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--cib-file", str(cib), "configure")
    terminal.prompt("configure")
    terminal.enters("location l web rule #uname is node1")
    terminal.sees("^ column 28")
    assert "'is' is not a comparison" in terminal.prompt("configure")
    terminal.enters("primitive web Dummy nonsense")
    terminal.sees("^ column 21")
    terminal.prompt("configure")
    terminal.enters("primitve web Dummy")
    terminal.sees("^ column 1")
    assert "did you mean 'primitive'" in terminal.prompt("configure")
    terminal.enters("quit")
    assert terminal.ends() == 0


def test_edit(running: Path, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text(
        '#!/bin/sh\nsed -i "s/primitive db .*/primitive db ocf:hacluster:Dummy params fake=7/" "$1"\n'
    )
    editor.chmod(0o755)
    terminal = Terminal(tmp_path, "--cib-file", str(running), "configure", EDITOR=str(editor), VISUAL="")
    terminal.prompt("configure")
    terminal.enters("edit db")
    terminal.prompt("configure")
    terminal.enters("commit")
    terminal.sees("params fake=7")
    terminal.prompt("configure")
    terminal.enters("up")
    terminal.prompt()
    terminal.enters("quit")
    assert terminal.ends() == 0
    assert 'value="7"' in running.read_text()


def test_what_is_interrupted_is_asked_about(running: Path, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--cib-file", str(running))
    terminal.prompt()
    terminal.enters("resource stop web")
    terminal.sees("This will also stop db (node")
    terminal.sees("Do it? (y/n)")
    terminal.enters("n")
    terminal.sees("nothing was changed")
    terminal.prompt()
    for answer in ("n", "y"):  # the rest of the group goes along
        terminal.enters("resource ban web")
        terminal.sees("move vip (node")
        terminal.sees("Do it? (y/n)")
        terminal.enters(answer)
        assert ("nothing was changed" in terminal.prompt()) == (answer == "n")
        assert ("cli-ban-web-on-node" in running.read_text()) == (answer == "y")
    terminal.enters("resource clear web")
    terminal.prompt()
    terminal.enters("configure")
    terminal.prompt("configure")
    terminal.enters("primitive new ocf:hacluster:Dummy")
    terminal.prompt("configure")
    terminal.enters("plan")
    shown = terminal.prompt("configure")
    assert "Start    new" in shown
    terminal.enters("refresh")
    terminal.prompt("configure")
    terminal.enters("load update web.crm")
    terminal.sees("web.crm: No such file")
    terminal.prompt("configure")
    terminal.enters("quit")
    assert terminal.ends() == 0


def test_a_commit_that_restarts_others_is_red_and_asked_about(running: Path, tmp_path: Path) -> None:
    (tmp_path / "web.crm").write_text("primitive web ocf:hacluster:Dummy params fake=3\n")
    terminal = Terminal(tmp_path, "--cib-file", str(running), "configure")
    terminal.prompt("configure")
    terminal.enters(f"load update {tmp_path / 'web.crm'}")
    terminal.prompt("configure")
    terminal.enters("commit")
    terminal.sees("\x1b[31mRestart  db")
    terminal.sees("Write it? (y/n)")
    terminal.enters("n")
    terminal.sees("nothing was written")
    terminal.prompt("configure")
    terminal.enters("commit")
    terminal.sees("Write it? (y/n)")
    terminal.enters("y")
    terminal.prompt("configure")
    terminal.enters("quit")
    assert terminal.ends() == 0
    assert 'value="3"' in running.read_text()


RED = "\x1b[31m"


def test_a_plan_shows_what_changes_and_what_stops_and_writes_nothing(running: Path, tmp_path: Path) -> None:
    before = running.read_bytes()
    wanted = tmp_path / "wanted.crm"
    wanted.write_text("primitive web ocf:hacluster:Dummy params fake=3\n")
    terminal = Terminal(tmp_path, "--cib-file", str(running))
    terminal.prompt()
    terminal.enters(f"plan {wanted}")
    once = raw(terminal)
    terminal.enters("configure")
    terminal.prompt("configure")
    terminal.enters(f"load update {wanted}")
    terminal.prompt("configure")
    terminal.enters("plan")
    for shown in (once, raw(terminal, "configure")):
        assert f"{RED}Restart  db" in shown  # nobody asked for that
        assert f"{RED}Restart  web" not in shown
        assert "+     params fake=3" in ESCAPES.sub("", shown)
    terminal.enters("clone dbs db")
    terminal.prompt("configure")
    terminal.enters("plan")
    shown = terminal.prompt("configure")
    assert [line for line in PLANNED if line not in shown] == []
    terminal.enters("refresh")
    terminal.prompt("configure")
    terminal.enters("plan")
    assert "The cluster will do nothing because of this." in terminal.prompt("configure")
    terminal.enters("quit")
    assert terminal.ends() == 0
    assert running.read_bytes() == before


def raw(terminal: Terminal, level: str = "") -> str:
    """What was printed before the prompt, with its colours."""
    terminal.prompt(level)
    return str(terminal.child.before)


# --- with a cluster


def hacli(node: LocalNode, folder: Path, *words: str) -> Terminal:
    return Terminal(folder, "--root", str(node.root), "--node", node.name, *words)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    cluster = LocalCluster(tmp_path_factory.mktemp("terminal"), 2, keepalive_ms=300, deadtime_ms=4_000)
    for node in cluster.nodes:
        node.start()
    try:
        until(
            lambda: all((now := node.status()) and now.dc and now.quorate for node in cluster.nodes),
            60,
            "a DC",
        )
        yield cluster
    finally:
        for node in cluster.nodes:
            node.power_cut()


@pytest.mark.alone
def test_a_commit_is_confirmed_rolled_back_and_undone(cluster: LocalCluster, tmp_path: Path) -> None:
    terminal = hacli(cluster.nodes[0], tmp_path, "configure")
    terminal.prompt("configure")
    terminal.enters("property stonith-enabled=false")
    terminal.prompt("configure")
    terminal.enters("primitive a ocf:hacluster:Dummy")
    terminal.prompt("configure")
    terminal.enters("plan")
    planned = terminal.prompt("configure")
    assert "+ primitive a ocf:hacluster:Dummy" in planned
    assert "Start    a" in planned
    terminal.enters('commit --reason "the first"')
    terminal.sees("+ primitive a ocf:hacluster:Dummy")
    terminal.sees("Start    a")
    terminal.prompt("configure")
    terminal.enters("primitive b ocf:hacluster:Dummy")
    terminal.prompt("configure")
    terminal.enters("commit --confirm 10m")
    terminal.sees("unless you say `hacli confirm`")
    terminal.prompt("configure")
    terminal.enters("status")
    terminal.sees("is undone in")
    terminal.prompt("configure")
    terminal.enters("up")
    terminal.prompt()
    terminal.enters("rollback")
    terminal.sees("is undone")
    terminal.prompt()
    terminal.enters("configure show b")
    terminal.sees("there is no object 'b'")
    terminal.prompt()
    terminal.enters("configure show a")
    assert "primitive a ocf:hacluster:Dummy" in terminal.prompt()
    terminal.enters("undo -1")
    terminal.prompt()
    terminal.enters("undo")  # the last change is the rollback: b would be there again
    terminal.sees("took back another, which would be made again")
    terminal.sees("Make it again? (y/n)")
    terminal.enters("n")
    terminal.sees("nothing was changed")
    terminal.prompt()
    terminal.enters("history config")
    assert "the first" in terminal.prompt()
    terminal.enters("quit")
    terminal.ends()


@pytest.mark.alone
def test_what_is_not_confirmed_goes_and_what_is_confirmed_stays(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    terminal = hacli(cluster.nodes[0], tmp_path, "configure")
    terminal.prompt("configure")
    terminal.enters("property stonith-enabled=false")
    terminal.prompt("configure")
    terminal.enters("primitive kept ocf:hacluster:Dummy")
    terminal.prompt("configure")
    terminal.enters("commit --confirm 10m")
    terminal.sees("unless you say `hacli confirm`")
    terminal.prompt("configure")
    terminal.enters("up")
    terminal.prompt()
    terminal.enters("confirm")
    terminal.prompt()
    terminal.enters("rollback")
    terminal.prompt()
    terminal.enters("configure show kept")
    assert "primitive kept ocf:hacluster:Dummy" in terminal.prompt()
    terminal.enters("configure")
    terminal.prompt("configure")
    terminal.enters("primitive gone ocf:hacluster:Dummy")
    terminal.prompt("configure")
    terminal.enters("commit --confirm 3s")
    terminal.sees("unless you say `hacli confirm`")
    terminal.prompt("configure")
    terminal.enters("quit")
    terminal.ends()  # nobody of this shell is there: the cluster itself takes it back
    until(lambda: "gone" not in shown(cluster.nodes[1]), 30, "what nobody confirmed is gone")
    assert "kept" in shown(cluster.nodes[1])


def shown(node: LocalNode) -> str:
    """The configuration, as a script would read it."""
    from tests.unit.cli.runner import hacli as run

    return run(["--root", str(node.root), "--node", node.name, "configure", "show"])[1]


@pytest.mark.alone
def test_a_cluster_goes_down_below_an_open_shell_and_a_watch(cluster: LocalCluster, tmp_path: Path) -> None:
    one, other = cluster.nodes
    watch = hacli(one, tmp_path, "status", "--watch", "0.3")
    watch.sees("Current DC:")
    shell = hacli(one, tmp_path)
    shell.prompt()
    shell.enters("node status")
    shell.sees("node2: online")
    shell.prompt()
    other.power_cut()
    watch.child.expect("UNCLEAN|OFFLINE")
    one.kill("crm")
    watch.sees("is the cluster running on this node?")
    shell.enters("node status")
    shell.sees("is the cluster running on this node?")
    shell.prompt()
    one.start("crm")
    until(lambda: one.status() is not None, 30, "ha-crm again")
    watch.sees("Cluster Summary:")
    shell.enters("node status")
    shell.sees("node1:")
    shell.prompt()
    shell.enters("quit")
    shell.ends()
    watch.child.sendintr()
    assert watch.ends() == 0
