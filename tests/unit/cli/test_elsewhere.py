"""Other nodes by ssh: what is called, and what is said when that does not work. ssh is a stand-in here."""

from __future__ import annotations

import io
import shlex
import sys
import tarfile
from pathlib import Path

import pytest

from cli import elsewhere
from cli.context import Context, Options
from hacluster.errors import InvalidRequest
from tests.cluster_toml import cluster_toml
from tests.unit.cli.runner import hacli

CLUSTER = cluster_toml([f"192.0.2.{number}" for number in (1, 2, 3, 4)])

# The node is the word before the last, the command the last one. n2 does as it is told, the others do not.
SSH = r"""#!/bin/sh
echo "$@" >> "$STAND_IN/calls"
for command; do where=$node; node=$command; done
case $where in
  n2|192.0.2.2) PATH=$STAND_IN:$PATH HACLUSTER_ROOT=$STAND_IN/n2 exec sh -c "$command" ;;
  n3|192.0.2.3) echo "banner" >&2; echo "n3: Permission denied (publickey)." >&2; exit 255 ;;
  *) exec sleep 60 ;;
esac
"""
HACLI = f'#!/bin/sh\nexec {sys.executable} -m cli --node n2 "$@"\n'
CONF = "totem {\n  version: 2\n}\n"


def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with its files, and programs of the names ssh and hacli."""
    for root in (tmp_path, tmp_path / "n2"):
        (root / "etc/hacluster").mkdir(parents=True)
        (root / "etc/hacluster/cluster.toml").write_text(CLUSTER)
        (root / "etc/corosync").mkdir()
        (root / "etc/corosync/corosync.conf").write_text(CONF)
    for name, text in (("ssh", SSH), ("hacli", HACLI)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("STAND_IN", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.setenv("HACLUSTER_ROOT", str(tmp_path))
    monkeypatch.setenv("HACLUSTER_NODE", "n1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of that node."""
    prepared(tmp_path, monkeypatch)
    return tmp_path


def test_words_arrive_as_they_are(folder: Path) -> None:
    words = ["printf", "%s|", "a b", "$HOME", "it's", "", "*"]
    answer = elsewhere.run(Context(), "n2", words)
    assert answer.out.decode() == "a b|$HOME|it's||*|"
    call = shlex.split((folder / "calls").read_text().splitlines()[0])
    assert call[:3] == ["-T", "-o", "BatchMode=yes"]
    assert elsewhere.run(Context(), "n2", ["cat"], data=b"\x00\xff").out == b"\x00\xff"


def test_a_name_that_does_not_resolve_is_an_address_of_cluster_toml(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_arguments: object) -> None:
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    elsewhere.run(Context(), "n2", ["true"])
    assert "-o HostKeyAlias=n2 -- 192.0.2.2 true" in (folder / "calls").read_text()


def test_what_ssh_says_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        elsewhere.NotReached, match=r"n3: ssh: n3: Permission denied \(publickey\).*has to work"
    ):
        elsewhere.run(Context(), "n3", ["true"])
    with pytest.raises(elsewhere.NotReached, match=r"n4: no answer within 0\.2 s"):
        elsewhere.run(Context(), "n4", ["true"], within_s=0.2)
    with pytest.raises(elsewhere.NotReached, match="nosuch is not in the PATH"):
        elsewhere.run(Context(), "n2", ["nosuch"])
    with pytest.raises(InvalidRequest):
        elsewhere.run(Context(), "-oProxyCommand=x", ["true"])
    monkeypatch.setenv("PATH", str(folder / "n2"))
    with pytest.raises(
        elsewhere.NotReached, match=r"ssh is not installed here .*`hacli status` on n2 itself"
    ):
        elsewhere.run(Context(), "n2", ["hacli", "status"])


def test_the_nodes_that_are_named(folder: Path) -> None:
    context = Context(Options(node="n1"))
    assert elsewhere.chosen(context, ["n2,n3", "n2"]) == ["n2", "n3"]
    assert elsewhere.others(context, []) == ["n2", "n3", "n4"]
    assert elsewhere.others(context, ["n1", "n4"]) == ["n4"]
    with pytest.raises(InvalidRequest, match="no node 'n9'"):
        elsewhere.chosen(context, ["n9"])


def test_corosync_conf_of_the_others(folder: Path) -> None:
    theirs = folder / "etc/corosync/corosync.conf"  # the same path there; here the same file, too
    assert hacli(["corosync", "diff", "n2"]) == (0, "INFO: n2 has the same\n")
    status, text = hacli(["corosync", "push", "n2", "n3"])
    assert status == 1
    assert "n2: written" in text
    assert "Permission denied" in text
    assert theirs.read_text() == CONF
    assert not (folder / "etc/corosync/corosync.conf.new").exists()
    assert hacli(["corosync", "pull", "n2"])[0] == 0
    assert hacli(["corosync", "pull", "n1"])[0] == 1
    assert hacli(["corosync", "pull"])[0] == 2
    theirs.write_text("totem {\n")
    assert hacli(["corosync", "push", "n2"])[0] == 1
    assert hacli(["corosync", "edit"])[0] == 1


def test_a_difference_is_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.elsewhere.fetch", lambda *_words: (CONF + "quorum {\n}\n").encode())
    status, text = hacli(["corosync", "diff", "n2"])
    assert status == 1
    assert "+quorum {" in text.splitlines()


def test_the_log_of_corosync(folder: Path) -> None:
    conf = folder / "etc/corosync/corosync.conf"
    conf.write_text(CONF + "logging {\n  logfile: /var/log/corosync.log\n}\n")
    (folder / "var/log").mkdir(parents=True)
    (folder / "var/log/corosync.log").write_text("one\ntwo\nthree\n")
    assert hacli(["corosync", "log", "2"]) == (0, "two\nthree\n")
    assert hacli(["corosync", "log", "x"])[0] == 2


def test_a_command_on_other_nodes(folder: Path) -> None:
    assert hacli(["cluster", "run", "echo a; echo b >&2", "n2"]) == (0, "n2: a\nn2: b\n")
    status, text = hacli(["cluster", "run", "exit 3", "n2", "n3"])
    assert status == 1
    assert "n2: exit status 3" in text
    assert "n3: ssh:" in text


def test_services_of_other_nodes(folder: Path) -> None:
    status, text = hacli(["cluster", "start", "n3", "n2"])
    assert status == 1
    assert "WARNING: start: left as they are: n2" in text
    status, text = hacli(["cluster", "start", "n2"])  # systemd does not run where this test does
    assert "n2: " in text
    assert hacli(["cluster", "stop", "n9"])[0] == 1
    assert hacli(["cluster", "stop", "--everywhere"])[0] == 2


def test_a_report_of_several_nodes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "cib.xml").write_text("<cib><configuration/></cib>")
    monkeypatch.setenv("CIB_file", str(folder / "cib.xml"))
    (folder / "n2/crm.log").write_text("password=hush of n2\n")
    monkeypatch.chdir(folder)
    status, text = hacli(["report", "-n", "n1 n2,n3", "out"])
    assert status == 0
    assert "WARNING: n3: ssh: " in text
    with tarfile.open("out.tar.gz") as tar:
        names = tar.getnames()
        file = tar.extractfile("out/n2/logs/crm.log")
        assert file is not None
        log = file.read().decode()
        problems = tar.extractfile("out/problems")
        assert problems is not None
        assert "n3: ssh" in problems.read().decode()
    assert {"out/n1/system.txt", "out/n2/system.txt", "out/n2/cluster.toml"} <= set(names)
    assert "hush" not in log
    assert hacli(["report", "-n"])[0] == 2


def test_a_report_that_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "cib.xml").write_text("<cib><configuration/></cib>")
    (folder / "hacli").write_text("#!/bin/sh\necho no archive\n")
    monkeypatch.setenv("CIB_file", str(folder / "cib.xml"))
    monkeypatch.chdir(folder)
    status, text = hacli(["report", "-n", "n2", "out"])
    assert status == 0
    assert "WARNING: n2: its report: " in text
    data = io.BytesIO((folder / "out.tar.gz").read_bytes())
    with tarfile.open(fileobj=data) as tar:
        assert tar.getnames() == ["out/problems"]


def test_a_file_on_other_nodes(folder: Path) -> None:
    file = folder / "some file"
    file.write_bytes(b"\xff one\n")
    file.chmod(0o640)
    status, text = hacli(["cluster", "copy", str(file), "n2", "n3"])
    assert status == 1
    assert "n2: written" in text
    assert file.read_bytes() == b"\xff one\n"  # the same place there, and here the same machine
    assert file.stat().st_mode & 0o777 == 0o640
    assert not (folder / "some file.new").exists()
    assert hacli(["cluster", "diff", str(file), "n2"]) == (0, "INFO: n2 has the same\n")
    assert hacli(["cluster", "copy"])[0] == 2
    assert hacli(["cluster", "copy", str(folder / "none"), "n2"])[0] == 1


def test_a_secret_on_other_nodes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "cib.xml").write_text(
        '<cib><configuration><resources><primitive id="db" class="ocf" provider="x" type="y"/></resources>'
        "</configuration></cib>"
    )
    monkeypatch.setenv("CIB_file", str(folder / "cib.xml"))
    assert hacli(["resource", "secret", "db", "set", "password", "hush"])[0] == 0
    path = folder / "var/lib/hacluster/lrm/secrets/db/password"
    assert path.exists()
    before = path.read_bytes()
    assert hacli(["resource", "secret", "db", "push", "password", "n2"]) == (0, "n2: written\n")
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o600
    assert "hush" not in (folder / "calls").read_text()
    assert hacli(["resource", "secret", "db", "push", "user", "n2"])[0] == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("typed \nmore\n"))
    assert hacli(["resource", "secret", "db", "set", "password", "-"])[0] == 0
    assert path.read_text() == "typed\n"


def test_waiting_for_the_start(folder: Path) -> None:
    status, text = hacli(["cluster", "wait_for_startup", "0"])
    assert status == 1
    assert "ERROR: the cluster has not started: " in text
    assert hacli(["cluster", "wait_for_startup", "soon"])[0] == 2
