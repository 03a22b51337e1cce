"""Secrets of known values, put wherever one may be, and looked for everywhere they must not be.

They may be in the files that exist to hold them, which others cannot read, and nowhere else: no log at any
level, no list of processes, no report, no status, no refusal, no command's history, no core file.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import secrets
import signal
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from hacluster.v1 import crm_pb2
from tests.live.documents import Primitive, cib
from tests.live.local_cluster import ROOT, SERVICES, LocalCluster, LocalNode, until
from tests.live.lrm_node import an_agent

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]
WITHIN_S = 60.0
AGENT = """start) [ "$OCF_RESKEY_password" = "$(cat {folder}/expected)" ] || exit 1
touch {folder}/up; exit 0;;
stop) rm -f {folder}/up; exit 0;;
monitor) [ -e {folder}/fails ] && exit 1; [ -e {folder}/up ] && exit 0; exit 7;;
"""
# Below a node's root: made to hold the configuration or keys.
HOLDERS = ("etc/hacluster/", "var/lib/hacluster/")


@dataclass(frozen=True)
class Canaries:
    """`stored` never leaves its file; the others may be where the configuration is."""

    parameter: str
    stored: str
    device: str
    heartbeats: str = ""
    tls: str = ""

    def found(self, text: bytes) -> list[str]:
        """Which of them a text holds."""
        return [name for name, value in vars(self).items() if value and value.encode() in text]


class Processes(threading.Thread):
    """Looks at all command lines, again and again."""

    def __init__(self, canaries: Canaries) -> None:
        super().__init__(daemon=True)
        self._canaries, self.ended = canaries, threading.Event()
        self.found: set[str] = set()
        self.looks = 0

    def run(self) -> None:
        """Until `ended`."""
        while not self.ended.wait(0.01):
            self.looks += 1
            for number in (entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()):
                with suppress(OSError):
                    line = Path(f"/proc/{number}/cmdline").read_bytes()
                    self.found |= {f"{one} in {line!r}" for one in self._canaries.found(line)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def canaries() -> Canaries:
    parameter, stored, device = (f"canary{secrets.token_hex(12)}" for _ in range(3))
    return Canaries(parameter, stored, device)


@pytest.fixture
def cluster(folder: Path, canaries: Canaries) -> Iterator[LocalCluster]:
    agent = an_agent(folder / "ocf", "Guarded", AGENT.format(folder=folder))
    (folder / "expected").write_text(canaries.parameter)
    guarded = Primitive(id="guarded", agent=agent, parameters={"password": canaries.parameter})
    kept = Primitive(id="kept", agent="ocf:hacluster:Dummy")
    device = Primitive(
        id="power",
        agent="stonith:fence_netns",
        parameters={"switch": str(folder / "none.sock"), "password": canaries.device},
    )
    document = cib([guarded, kept, device], prefer="node1", properties={"stonith-enabled": "true"})
    made = LocalCluster(folder, 2, deadtime_ms=2_500, cib=document)
    for node in made.nodes:
        node.arguments = ["--log-level", "debug"]
        node.environment["HACLUSTER_OCF_ROOTS"] = f"{folder / 'ocf'}:{ROOT / 'agents/ocf'}"
    made.start()
    try:
        yield made
    finally:
        made.stop()


def hacli(node: LocalNode, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", "--root", str(node.root), "--node", node.name, *words],
        cwd=ROOT,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def failures(node: LocalNode) -> int:
    """Of the guarded resource's monitor, as the CIB has them."""
    status = node.status()
    return 0 if status is None else status.cib_xml.count(b"fail-count-guarded")


def plain(path: Path) -> bytes:
    """What a file holds, unpacked."""
    data = path.read_bytes()
    for module in (gzip, bz2, lzma):
        with suppress(OSError, EOFError, lzma.LZMAError):
            return bytes(module.decompress(data))
    return data


def others_can_read(path: Path, root: Path) -> bool:
    """The file, in folders that they may enter."""
    above = [one for one in path.parents if one.is_relative_to(root)]
    enter = all(one.stat().st_mode & stat.S_IXOTH for one in above)
    return enter and bool(path.stat().st_mode & stat.S_IROTH)


def escapes(root: Path, canaries: Canaries) -> list[str]:
    """Files below a node's root that hold a secret and should not.  Its daemons run: some come and go."""
    found = []
    for path in files_below(root):
        name = str(path.relative_to(root))
        with suppress(FileNotFoundError):
            held = canaries.found(plain(path))
            home = name.startswith(HOLDERS) and not others_can_read(path, root)
            if "stored" in held and not name.startswith("var/lib/hacluster/lrm/secrets/"):
                found.append(f"stored in {name}")
            if held and not home:
                found.append(f"{held} in {name}, mode {path.stat().st_mode & 0o777:o}")
    return found


def files_below(root: Path) -> list[Path]:
    """Regular files, no links; a folder that vanishes meanwhile is none."""
    found = [Path(folder) / name for folder, _folders, names in os.walk(root) for name in names]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def of_the_node(node: LocalNode, canaries: Canaries) -> Canaries:
    """With its keys: all of one line each, as a log would show it."""
    heartbeats = node.paths.authkeys.read_text().split()[-1]
    key = (node.paths.tls / "node.key").read_text().splitlines()[1]
    return Canaries(canaries.parameter, canaries.stored, canaries.device, heartbeats, key)


def from_commands(node: LocalNode, folder: Path) -> dict[str, bytes]:
    """What commands print, and what a report holds."""
    outputs = {}
    for words in (
        "status",
        "history",
        "history log",
        "verify",
        "transition list",
        "why guarded",
        "cluster health",
        "fence history *",
    ):
        done = hacli(node, *words.split())
        outputs[words] = (done.stdout + done.stderr).encode()
    done = hacli(node, "-F", "report", str(folder / "made"))
    assert done.returncode == 0, done.stderr
    with tarfile.open(fileobj=io.BytesIO((folder / "made.tar.gz").read_bytes())) as tar:
        for member in tar:
            if (part := tar.extractfile(member)) is not None:
                outputs[f"report: {member.name}"] = part.read()
    assert any(b"guarded" in text for name, text in outputs.items() if name.startswith("report: "))
    return outputs


def from_the_service(node: LocalNode, canaries: Canaries) -> dict[str, bytes]:
    """A refusal of what holds a secret, the status section, notices."""
    bad = (
        f'<configuration><crm_config/><nodes/><resources><primitive id="x" password="{canaries.parameter}"/>'
    )
    with pytest.raises(grpc.RpcError) as refused:
        node.call(
            "WriteCib",
            crm_pb2.WriteCibRequest(configuration_xml=bad.encode(), request_id="bad"),
            crm_pb2.WriteReply,
        )
    status = node.status()
    assert status is not None
    return {
        "refusal": str(refused.value).encode(),
        "status section": status.cib_xml[status.cib_xml.index(b"<status") :],
        "notices": "\n".join(status.notices).encode(),
    }


def test_no_secret_is_found_where_it_must_not_be(
    cluster: LocalCluster, canaries: Canaries, folder: Path
) -> None:
    one, two = cluster.nodes
    all_of = [of_the_node(node, canaries) for node in cluster.nodes]
    processes = Processes(all_of[0])
    processes.start()
    until(lambda: (folder / "up").exists(), WITHIN_S, "the guarded resource, started with its password")
    done = hacli(one, "resource", "secret", "kept", "set", "token", "-", given=canaries.stored)
    assert (done.returncode, all_of[0].found((done.stdout + done.stderr).encode())) == (0, [])
    assert hacli(one, "resource", "secret", "kept", "show", "token").stdout.strip() == canaries.stored
    (folder / "fails").touch()
    until(lambda: failures(one), WITHIN_S, "a failed monitor")
    (folder / "fails").unlink()
    for service in SERVICES:  # as it ends cleanly, by a crash, and as it starts with what is on the disk
        two.kill(service, number=signal.SIGTERM)
        two.start(service)
        one.kill(service, number=signal.SIGABRT)
        one.start(service)
    until(lambda: all(node.status() for node in cluster.nodes) and cluster.dc(), WITHIN_S, "a DC")
    outputs = from_commands(one, folder) | from_the_service(one, canaries)
    processes.ended.set()
    processes.join(30)
    assert (processes.found, processes.looks > 10) == (set(), True)
    assert {name: found for name, text in outputs.items() if (found := all_of[0].found(text))} == {}
    for node, known in zip(cluster.nodes, all_of, strict=True):
        assert escapes(node.root, known) == []
        for service in SERVICES:
            assert core_bytes_max(node.processes[service].pid) == "0", f"{service} of {node.name}"
    held = set()
    for path in files_below(one.paths.var):
        with suppress(FileNotFoundError):
            held.update(canaries.found(plain(path)))
    assert held == {"parameter", "stored", "device"}, "what looks for them finds them"


def core_bytes_max(pid: int) -> str:
    """The soft limit."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (line,) = (one for one in limits if one.startswith("Max core file size"))
    return line.split()[4]
