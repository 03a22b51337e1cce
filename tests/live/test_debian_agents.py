"""More of Debian's agents, unchanged, by ha-lrm in a namespace: each where its package is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hacluster.v1 import lrm_pb2
from hacluster.vocabulary.operation import ExecutionStatus
from tests.live.lrm_node import LrmNode
from tests.live.test_agents_ocf import Answering
from tests.live.test_lrm_agents import LIFE, command, life_of, namespace, root

__all__ = ["namespace", "root"]

AGENTS = Path("/usr/lib/ocf/resource.d")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.skipif(not (AGENTS / "heartbeat/Dummy").exists(), reason="resource-agents is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="these agents need root"),
]


def wants(program: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program, path=PATH) is None, reason=f"{program} (package {package}) is not installed"
    )


pacemaker = pytest.mark.skipif(
    not (AGENTS / "pacemaker/Stateful").exists(), reason="pacemaker-resource-agents is not installed"
)


@pytest.fixture
async def node(root: Path, namespace: str) -> AsyncIterator[LrmNode]:
    root.chmod(0o755)
    async with LrmNode(root, prefix=("nsenter", f"--net=/run/netns/{namespace}")) as one:
        await one.accept()
        yield one


@pytest.fixture
def crm(node: LrmNode) -> Iterator[Answering]:
    with Answering(node.paths.agent_socket) as one:
        yield one


async def good(
    node: LrmNode,
    resource: str,
    action: str,
    agent: str,
    parameters: dict[str, str] | None = None,
    rc: int = 0,
) -> None:
    result = await node.run(resource, action, agent, timeout_ms=40_000, parameters=parameters or {})
    assert (result.status, result.rc) == (ExecutionStatus.DONE, rc), result


@pytest.mark.parametrize(
    "agent",
    [
        pytest.param("ocf:pacemaker:Stateful", marks=pacemaker),
        "ocf:heartbeat:Stateful",
        "ocf:hacluster:Stateful",
    ],
)
async def test_promotable_dummies_are_alike(node: LrmNode, crm: Answering, agent: str) -> None:
    steps = [
        ("monitor", 7), ("start", 0), ("monitor", 0), ("promote", 0), ("monitor", 8), ("demote", 0),
        ("monitor", 0), ("stop", 0), ("monitor", 7),
    ]  # fmt: skip
    for action, rc in steps:
        await good(node, "s", action, agent, rc=rc)
    scores = {str(request["name"]) for request in crm.requests}
    assert scores == {"master-s"}, "its score reached the cluster by our crm_attribute"
    assert [request["command"] for request in crm.requests][-1] in ("delete", "update")


async def test_the_source_address(node: LrmNode, namespace: str) -> None:
    command("ip", "-n", namespace, "route", "add", "default", "via", "10.77.0.254")
    await good(node, "ip", "start", "ocf:heartbeat:IPaddr2", {"ip": "10.77.0.9", "cidr_netmask": "24"})
    steps = [("monitor", 7), ("start", 0), ("start", 0), ("monitor", 0), ("stop", 0), ("monitor", 7)]
    for action, rc in steps:  # a second stop of theirs fails when the default route has no source
        await good(node, "src", action, "ocf:heartbeat:IPsrcaddr", {"ipaddress": "10.77.0.9"}, rc)


async def test_send_arp_says_it_once_and_again(node: LrmNode) -> None:
    await good(node, "arp", "start", "ocf:heartbeat:SendArp", {"ip": "10.77.0.1", "nic": "eth0"})
    await good(node, "arp", "monitor", "ocf:heartbeat:SendArp", {"ip": "10.77.0.1", "nic": "eth0"})
    await good(node, "arp", "stop", "ocf:heartbeat:SendArp", {"ip": "10.77.0.1", "nic": "eth0"})


@wants("mail", "bsd-mailx")
async def test_mail_to(node: LrmNode) -> None:
    parameters = {"email": "nobody@localhost", "subject": "test"}
    assert await life_of(node, "mail", "ocf:heartbeat:MailTo", **parameters) == LIFE


NAMES = """#!/bin/sh
# As before 1.8.9, which prints a protocol's number with -n.
/usr/sbin/iptables-nft "$@" | sed -E 's/^(DROP|REJECT|ACCEPT)( +)6 /\\1\\2tcp /'
"""


@pytest.fixture
async def naming(root: Path, namespace: str) -> AsyncIterator[LrmNode]:
    """A node whose iptables prints protocols by name, as portblock looks for its own rule."""
    root.chmod(0o755)
    wrapper, others = root / "iptables", root / "alternatives"
    wrapper.write_text(NAMES)
    wrapper.chmod(0o755)
    command("cp", "-a", "/etc/alternatives", str(others))
    (others / "iptables").unlink()
    (others / "iptables").symlink_to(wrapper)
    bind = f'mount --bind {others} /etc/alternatives && exec "$@"'
    private = ("unshare", "--mount", "--propagation", "private", "sh", "-c", bind, "sh")
    async with LrmNode(root, prefix=("nsenter", f"--net=/run/netns/{namespace}", *private)) as one:
        await one.accept()
        yield one


@wants("iptables-nft", "iptables")
@pytest.mark.skipif(
    not Path("/etc/alternatives/iptables").is_symlink(), reason="iptables is not by Debian's alternatives"
)
async def test_port_block(naming: LrmNode, namespace: str) -> None:
    inside = ["nsenter", f"--net=/run/netns/{namespace}", "iptables"]
    works = subprocess.run([*inside, "-L", "-n"], capture_output=True, check=False)
    if works.returncode != 0:
        pytest.skip(f"iptables does not work here: {works.stderr.decode().strip()[:100]}")
    agent, parameters = "ocf:heartbeat:portblock", {"protocol": "tcp", "portno": "8088", "ip": "10.77.0.1"}
    block, unblock = {"action": "block", **parameters}, {"action": "unblock", **parameters}

    def blocked() -> bool:
        return "ports 8088 -j DROP" in command(*inside, "-S")

    await good(naming, "block", "validate-all", agent, block)
    await good(naming, "block", "start", agent, block)
    await good(naming, "block", "monitor", agent, block)
    assert blocked()
    await good(naming, "unblock", "start", agent, unblock)
    assert not blocked(), "unblocked by its partner, as in a group: block, address, service, unblock"
    await good(naming, "unblock", "monitor", agent, unblock)
    await good(naming, "unblock", "stop", agent, unblock)
    assert blocked(), "before the service is stopped"
    await good(naming, "block", "stop", agent, block)
    assert not blocked()
    wrong = await naming.run("block", "start", agent, parameters={**block, "action": "wall"})
    assert wrong.rc != 0


@pacemaker
@wants("ping", "iputils-ping")
async def test_ping_tells_the_cluster(node: LrmNode, crm: Answering) -> None:
    parameters = {"host_list": "10.77.0.1 10.77.0.77", "multiplier": "100", "timeout": "1", "attempts": "1"}
    await good(node, "p", "start", "ocf:pacemaker:ping", {"dampen": "5s", **parameters})
    await good(node, "p", "monitor", "ocf:pacemaker:ping", {"dampen": "5s", **parameters})
    told = [request for request in crm.requests if request["name"] == "pingd"]
    assert told, crm.requests
    assert (told[-1]["value"], told[-1]["dampen_ms"]) == ("100", 5_000)
    await good(node, "p", "stop", "ocf:pacemaker:ping", {"dampen": "5s", **parameters})


@wants("apache2", "apache2")
@wants("curl", "curl")
async def test_apache(node: LrmNode, root: Path) -> None:
    modules = Path("/usr/lib/apache2/modules")
    (root / "www").mkdir()
    (root / "www/index.html").write_text("<html><body>here</body></html>\n")
    for path in (root / "www", root / "www/index.html"):
        path.chmod(0o755)
    configuration = root / "apache.conf"
    configuration.write_text(
        f"ServerRoot {root}\nPidFile {root}/apache.pid\nListen 10.77.0.1:80\nServerName node1\n"
        f"LoadModule mpm_event_module {modules}/mod_mpm_event.so\n"
        f"LoadModule authz_core_module {modules}/mod_authz_core.so\n"
        f"LoadModule dir_module {modules}/mod_dir.so\n"
        f"User nobody\nGroup nogroup\nDocumentRoot {root}/www\nErrorLog {root}/error.log\nMutex file:{root}\n"
        f"DefaultRuntimeDir {root}\nDirectoryIndex index.html\n"
        f"<Directory {root}/www>\nRequire all granted\n</Directory>\n"
    )
    parameters = {
        "configfile": str(configuration),
        "httpd": "/usr/sbin/apache2",
        "statusurl": "http://10.77.0.1/",
        "testregex": "here",
    }
    assert await life_of(node, "web", "ocf:heartbeat:apache", **parameters) == LIFE


@wants("redis-server", "redis-server")
@wants("redis-cli", "redis-tools")
async def test_redis(node: LrmNode, crm: Answering, root: Path) -> None:
    user = pwd.getpwnam("redis")
    folder = root / "redis"
    folder.mkdir()
    os.chown(folder, user.pw_uid, user.pw_gid)
    configuration = root / "redis.conf"
    configuration.write_text(
        f"port 6399\nbind 10.77.0.1\ndaemonize yes\ndir {folder}\npidfile {folder}/redis.pid\n"
        f"unixsocket {folder}/redis.sock\nlogfile {folder}/redis.log\n"
    )
    configuration.chmod(0o644)
    parameters = {
        "config": str(configuration),
        "rundir": str(folder),
        "pidfile_name": "redis.pid",
        "socket_name": "redis.sock",
        "port": "6399",
    }
    assert await life_of(node, "db", "ocf:heartbeat:redis", **parameters) == LIFE


@wants("haproxy", "haproxy")
async def test_haproxy_by_our_process_agent(node: LrmNode, root: Path, namespace: str) -> None:
    """resource-agents has none for it."""
    configuration = root / "haproxy.cfg"
    configuration.write_text(
        "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"
        "frontend f\n bind 10.77.0.1:8080\n"
        " http-request return status 200 content-type text/plain string here\n"
    )
    parameters = {
        "binfile": "/usr/sbin/haproxy",
        "cmdline_options": f"-db -f {configuration}",
        "monitor_hook": "curl -sf http://10.77.0.1:8080/",
        "stop_signal": "USR1",
    }
    await good(node, "lb", "start", "ocf:hacluster:Process", parameters)
    page = command("nsenter", f"--net=/run/netns/{namespace}", "curl", "-s", "http://10.77.0.1:8080/")
    assert page == "here"
    await good(node, "lb", "monitor", "ocf:hacluster:Process", parameters)
    await good(node, "lb", "stop", "ocf:hacluster:Process", parameters)
    await good(node, "lb", "monitor", "ocf:hacluster:Process", parameters, 7)


@pytest.mark.skipif(
    not Path("/usr/lib/postgresql/15/bin/initdb").exists(), reason="postgresql-15 is not installed"
)
async def test_postgresql(node: LrmNode, crm: Answering, root: Path) -> None:
    binaries = "/usr/lib/postgresql/15/bin"
    user = pwd.getpwnam("postgres")
    data, sockets = root / "pgdata", root / "pgsock"
    for folder in (data, sockets):
        folder.mkdir(mode=0o700)
        os.chown(folder, user.pw_uid, user.pw_gid)
    command("runuser", "-u", "postgres", "--", f"{binaries}/initdb", "-D", str(data), "-A", "trust")
    with (data / "postgresql.conf").open("a") as file:
        file.write(f"unix_socket_directories = '{sockets}'\nlisten_addresses = '10.77.0.1'\nport = 5499\n")
    parameters = {
        "pgctl": f"{binaries}/pg_ctl",
        "psql": f"{binaries}/psql",
        "pgdata": str(data),
        "pgport": "5499",
        "socketdir": str(sockets),
        "logfile": str(sockets / "pg.log"),
        "tmpdir": str(sockets / "tmp"),
    }
    assert await life_of(node, "pg", "ocf:heartbeat:pgsql", **parameters) == LIFE


@pytest.mark.skipif(
    not Path("/usr/lib/stonith/plugins/external/ssh").exists(), reason="cluster-glue is not installed"
)
async def test_a_plugin_of_cluster_glue(node: LrmNode) -> None:
    metadata = await node.stub.Metadata(lrm_pb2.MetadataRequest(agent="stonith:external/ssh"))
    assert 'name="hostlist"' in metadata.xml
    assert '<action name="reboot"' in metadata.xml
    hosts = await node.run("f-fencing", "list", "stonith:external/ssh", parameters={"hostlist": "n1 n2"})
    assert (hosts.status, hosts.rc) == (ExecutionStatus.DONE, 0), hosts
    assert hosts.output.split() == ["n1", "n2"]


@pytest.mark.skipif(
    not Path("/usr/lib/stonith/plugins/stonith2/null.so").exists(), reason="cluster-glue is not installed"
)
async def test_a_compiled_plugin_of_cluster_glue(node: LrmNode) -> None:
    metadata = await node.stub.Metadata(lrm_pb2.MetadataRequest(agent="stonith:null"))
    assert 'name="hostlist"' in metadata.xml
    assert '<action name="reboot"' in metadata.xml
    parameters = {"hostlist": "n1 n2"}
    hosts = await node.run("f-fencing", "list", "stonith:null", parameters=parameters)
    assert (hosts.status, hosts.rc, hosts.output.split()) == (ExecutionStatus.DONE, 0, ["n1", "n2"]), hosts
    for action in ("off", "on", "reboot"):
        done = await node.run(
            "f-fencing", action, "stonith:null", parameters={**parameters, "nodename": "n1"}
        )
        assert (done.status, done.rc) == (ExecutionStatus.DONE, 0), done
    wrong = await node.run("f-fencing", "reboot", "stonith:null", parameters={"nodename": "n1"})
    assert wrong.rc != 0, "hostlist is needed"


async def test_an_init_script(node: LrmNode) -> None:
    """The system's own redis script, if there is one: LSB's exit codes for status."""
    if not Path("/etc/init.d/redis-server").exists() or shutil.which("redis-server") is None:
        pytest.skip("redis-server has no init script here")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 6379)) == 0:
            pytest.skip("somebody's redis runs on this machine")
    assert await life_of(node, "r", "lsb:redis-server") == LIFE
