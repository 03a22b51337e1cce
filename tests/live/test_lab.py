"""The lab itself, with small programs in the supervisor's place: what every live test stands on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.demo.ground import LabError, until
from cli.demo.lab import Lab, running_labs
from cli.demo.seats import Client, Watch

pytestmark = pytest.mark.netns

SLEEP = ("/bin/sleep", "1000")
VIP = "172.16.20.100"
# Names of labs: others may run these tests on the same machine.
ORPHAN, FAILING, USER = (f"{what}{os.getpid()}" for what in ("orphan", "failing", "user"))

WEB = """
import http.server, os
os.chdir("/var/www/html")
class Handler(http.server.SimpleHTTPRequestHandler):
    server_version, sys_version = os.uname().nodename, ""
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("", 80), Handler).serve_forever()
"""

ANNOUNCE = """
import socket
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
    s.bind(("eth0", 0x806))
    mac, ip = s.getsockname()[4], socket.inet_aton("172.16.20.100")
    head = bytes.fromhex("0806" "0001" "0800" "06" "04" "0001")
    s.send(b"\\xff" * 6 + mac + head + mac + ip + b"\\xff" * 6 + ip)
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(["n1", "n2"], name="unit", links=2) as lab:
        for node in lab.nodes:
            node.boot(command=SLEEP)
        yield lab


def reaches(lab: Lab, one: str, address: str) -> bool:
    return lab[one].exec("ping", "-c", "1", "-W", "0.5", address, check=False).returncode == 0


def test_a_node_is_a_machine_of_its_own(lab: Lab) -> None:
    one, other = lab.nodes
    assert one.exec("hostname").stdout == "n1\n"
    one.write("/etc/hacluster/x", "1")
    one.exec("sh", "-c", "echo 2 >/var/lib/hacluster/y; echo 3 >/run/z; echo 4 >/tmp/w")
    assert one.exec("cat", "/etc/hacluster/x").stdout == "1"
    for path in ("/etc/hacluster/x", "/var/lib/hacluster/y", "/run/z", "/tmp/w"):
        assert other.exec("test", "-e", path, check=False).returncode == 1
    assert one.exec("ps", "-A", "-o", "pid=,comm=").stdout.split()[:2] == ["1", "sleep"]


def test_power_cut_keeps_the_disk_only(lab: Lab) -> None:
    node = lab["n1"]
    node.exec(
        "sh", "-c", "echo 2 >/var/lib/hacluster/y; echo 3 >/run/z; ip addr add 172.16.20.100/16 dev eth0"
    )
    first = node.first
    node.power_cut()
    assert not node.is_on
    assert not Path(f"/proc/{first}").exists()
    assert not reaches(lab, "n2", "172.16.20.31")
    node.boot(command=SLEEP)
    assert node.exec("cat", "/var/lib/hacluster/y").stdout == "2\n"
    assert node.exec("test", "-e", "/run/z", check=False).returncode == 1
    assert VIP not in node.exec("ip", "-br", "addr").stdout
    until(lambda: reaches(lab, "n2", "172.16.20.31"), 5)


def test_cuts(lab: Lab) -> None:
    if not shutil.which("nft"):
        pytest.skip("no nft program")
    one, other = lab.nodes
    lab.cut(one, other, links=[0])
    assert not reaches(lab, "n1", "172.16.20.32")
    assert reaches(lab, "n1", "172.17.20.32")
    lab.split([one], [other])
    assert not reaches(lab, "n1", "172.17.20.32")
    lab.heal()
    assert reaches(lab, "n1", "172.16.20.32")
    lab.pull(one, 1)
    assert not reaches(lab, "n1", "172.17.20.32")
    lab.plug(one, 1)
    until(lambda: reaches(lab, "n1", "172.17.20.32"), 5)


def test_freeze(lab: Lab) -> None:
    node = lab["n1"]
    node.freeze()
    until(lambda: state_of(node.first) == "T", 5)
    node.thaw()
    until(lambda: state_of(node.first) == "S", 5)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_orderly_end_gives_the_exit_code(lab: Lab) -> None:
    node = lab["n1"]
    node.power_cut()
    script = (
        "import signal, sys; signal.signal(15, lambda *a: sys.exit(3)); open('/run/x', 'w'); signal.pause()"
    )
    node.boot(command=(sys.executable, "-c", script))
    until(lambda: node.exec("test", "-e", "/run/x", check=False).returncode == 0, 5)
    assert node.shut_down(5) == 3


def test_client_and_onlooker_see_a_take_over(lab: Lab) -> None:
    shared = lab.shared / "htdoc"
    shared.mkdir()
    (shared / "index.html").write_text("hello")
    watch = Watch(lab, {"ip": {"address": VIP}, "fs": {"mount": "/var/www/html"}, "web": {"listen": 80}})
    client = Client(lab, VIP)
    servers = []

    def start(name: str) -> None:
        node = lab[name]
        node.exec("ip", "addr", "add", f"{VIP}/16", "dev", "eth0")
        node.exec(sys.executable, "-c", ANNOUNCE)
        node.exec("mount", "--bind", "/shared/htdoc", "/var/www/html")
        command = node.enter(sys.executable, "-c", WEB)
        servers.append(subprocess.Popen(command, env=node.environment, stderr=subprocess.DEVNULL))

    start("n1")
    watch.wait_all_on("n1", 10)
    assert client.wait_served(10).node == "n1"
    cut_ns = lab["n1"].power_cut()
    watch.tell(lab["n1"])
    start("n2")
    watch.wait_all_on("n2", 10)
    assert client.wait_served(10).node == "n2"
    assert client.longest_outage_ms(cut_ns) > 20
    moments = [watch.when("n2", resource, True, cut_ns) or 0 for resource in ("ip", "fs", "web")]
    assert sorted(moments) == moments
    assert watch.violations() == []
    lab["n2"].exec("ip", "addr", "del", f"{VIP}/16", "dev", "eth0")
    until(lambda: watch.violations() == ["n2: fs is active without ip"], 5)
    lab.close()
    for server in servers:
        server.wait(10)


def remains(name: str) -> list[str]:
    folders = [path.name for path in Path(tempfile.gettempdir()).glob(f"hacluster-{name}-*")]
    return folders + [str(lab) for lab in running_labs(name)]


def test_nothing_is_left_when_the_owner_is_killed() -> None:
    script = (
        "import time\nfrom cli.demo.lab import Lab\n"
        f"lab = Lab(['n1'], name={ORPHAN!r})\nlab.nodes[0].boot(command=('/bin/sleep', '1000'))\n"
        "print(lab.nodes[0].first, flush=True)\ntime.sleep(1000)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    first = int(owner.stdout.readline())
    assert running_labs(ORPHAN)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    until(lambda: not running_labs(ORPHAN) and not Path(f"/proc/{first}").exists(), 10)
    for folder in Path(tempfile.gettempdir()).glob(f"hacluster-{ORPHAN}-*"):
        folder.rmdir()  # an empty mount point is all that a SIGKILL leaves


def test_nothing_is_left_after_a_failure() -> None:
    with pytest.raises(LabError), Lab(["n1"], name=FAILING) as lab:
        lab.nodes[0].boot(command=("/bin/sleep", "1000")).exec("false")
    assert remains(FAILING) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_as_an_ordinary_user() -> None:
    python = "/usr/bin/python3"
    if not Path(python).exists():
        pytest.skip(f"no {python}: the tests' own interpreter may be out of another user's reach")
    code = Path(__file__).resolve().parents[2]
    if not (code.stat().st_mode & 0o005) or code.is_relative_to("/root"):
        pytest.skip("another user cannot read the code")
    script = (
        "from cli.demo.lab import Lab\n"
        f"with Lab(['n1', 'n2'], name={USER!r}) as lab:\n"
        "    [node.boot(command=('/bin/sleep', '1000')) for node in lab.nodes]\n"
        "    print(lab.nodes[0].exec('ping', '-c', '1', '-W', '2', '172.16.20.32').returncode)\n"
        "    lab.nodes[0].power_cut()\n"
    )
    command = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", python, "-c", script]
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(code),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/tmp",
    }
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    if "no namespaces here" in done.stderr:
        pytest.skip("this kernel does not let ordinary users make user namespaces")
    assert done.stdout == "0\n", done.stderr
    assert remains(USER) == []
