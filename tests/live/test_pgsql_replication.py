"""Debian's pgsql agent with streaming replication: it asks the cluster a lot, all by our commands."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from crm.cib import codec
from tests.live.local_cluster import LocalCluster, LocalNode, until

BINARIES = Path("/usr/lib/postgresql/15/bin")
AGENT = Path("/usr/lib/ocf/resource.d/heartbeat/pgsql")
PORT = 54_399

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not (BINARIES / "initdb").exists(), reason="postgresql-15 is not installed"),
    pytest.mark.skipif(
        not Path("/usr/lib/ocf/resource.d/heartbeat/pgsql").exists(),
        reason="resource-agents is not installed",
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="the agent becomes user postgres"),
]


def as_postgres(*words: str) -> str:
    done = subprocess.run(
        ["runuser", "-u", "postgres", "--", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pairs(owner: str, values: dict[str, str]) -> str:
    return "".join(f'<nvpair id="{owner}-{name}" name="{name}" value="{v}"/>' for name, v in values.items())


def a_cib(folder: Path, addresses: dict[str, str]) -> str:
    common = {
        "pgctl": f"{BINARIES}/pg_ctl",
        "psql": f"{BINARIES}/psql",
        "pgport": str(PORT),
        "rep_mode": "async",
        "node_list": "node1 node2",
        "repuser": "postgres",
        "restart_on_promote": "false",
        "logfile": "/dev/null",
    }
    sets = f'<instance_attributes id="all">{pairs("all", common)}</instance_attributes>'
    for name, peer in (("node1", "node2"), ("node2", "node1")):
        own = {
            "pgdata": f"{folder}/{name}/data",
            "socketdir": f"{folder}/{name}/sock",
            "tmpdir": f"{folder}/{name}/tmp",
            "master_ip": addresses[peer],
        }
        rule = f'<expression id="{name}-e" attribute="#uname" operation="eq" value="{name}"/>'
        sets += f'<instance_attributes id="{name}"><rule id="{name}-r" score="0">{rule}</rule>'
        sets += f"{pairs(name, own)}</instance_attributes>"
    operations = "".join(
        f'<op id="o{number}" name="{name}" interval="{interval}" timeout="60s"{role}/>'
        for number, (name, interval, role) in enumerate(
            [
                ("start", "0s", ""), ("stop", "0s", ""), ("promote", "0s", ""), ("demote", "0s", ""),
                ("notify", "0s", ""), ("monitor", "4s", ""), ("monitor", "3s", ' role="Promoted"'),
            ]
        )
    )  # fmt: skip
    options = pairs("o", {"stonith-enabled": "false", "no-quorum-policy": "ignore"})
    meta = pairs("cm", {"promotable": "true", "notify": "true", "clone-max": "2", "promoted-max": "1"})
    return (
        f'<cib><configuration><crm_config><cluster_property_set id="o">{options}</cluster_property_set>'
        f'</crm_config><resources><clone id="ms"><meta_attributes id="cm">{meta}</meta_attributes>'
        f'<primitive id="pgsql" class="ocf" provider="heartbeat" type="pgsql">{sets}'
        f"<operations>{operations}</operations></primitive></clone></resources></configuration></cib>"
    )


@pytest.fixture
def ground() -> Iterator[tuple[Path, LocalCluster]]:
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "lab").mkdir(mode=0o755)
        user = pwd.getpwnam("postgres")
        cluster = LocalCluster(folder / "lab", 2, keepalive_ms=200, deadtime_ms=2_500)
        for node in cluster.nodes:
            for one in ("", "data", "sock", "tmp"):
                place = folder / node.name / one
                place.mkdir(mode=0o755 if not one else 0o700)
                os.chown(place, user.pw_uid, user.pw_gid)
        data = folder / "node1/data"
        as_postgres(str(BINARIES / "initdb"), "-D", str(data), "-A", "trust")
        with (data / "pg_hba.conf").open("a") as file:
            file.write("host all all 127.0.0.0/8 trust\nhost replication all 127.0.0.0/8 trust\n")
        shutil.rmtree(folder / "node2/data")
        as_postgres("cp", "-a", str(data), str(folder / "node2/data"))
        for node in cluster.nodes:
            with (folder / node.name / "data/postgresql.conf").open("a") as file:
                file.write(
                    f"listen_addresses = '{node.address}'\nport = {PORT}\nwal_level = replica\n"
                    f"unix_socket_directories = '{folder / node.name / 'sock'}'\nhot_standby = on\n"
                    "fsync = off\nshared_buffers = 16MB\n"
                )
            cib = a_cib(folder, {one.name: one.address for one in cluster.nodes})
            (node.paths.etc / "initial-cib.xml").write_text(cib)
        try:
            yield folder, cluster
        finally:
            cluster.stop()
            for node in cluster.nodes:
                stop = (str(BINARIES / "pg_ctl"), "stop", "-m", "immediate", "-D")
                subprocess.run(
                    ["runuser", "-u", "postgres", "--", *stop, str(folder / node.name / "data")],
                    capture_output=True,
                    check=False,
                )


def sql(folder: Path, node: LocalNode, text: str) -> str:
    done = subprocess.run(
        [str(BINARIES / "psql"), "-h", node.address, "-p", str(PORT), "-U", "postgres", "-Atc", text],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else f"error: {done.stderr.strip()}"


def primaries(folder: Path, cluster: LocalCluster) -> list[LocalNode]:
    return [node for node in cluster.nodes if sql(folder, node, "select pg_is_in_recovery()") == "f"]


def attribute(node: LocalNode, name: str, of: str) -> str:
    status = node.status()
    if status is None:
        return ""
    for state in codec.parse(status.cib_xml).walk():
        if state.tag == "node_state" and state.get("uname") == of:
            return next((pair.get("value") for pair in state.walk() if pair.get("name") == name), "")
    return ""


def test_a_standby_follows_and_takes_over(ground: tuple[Path, LocalCluster]) -> None:
    folder, cluster = ground
    cluster.start()
    until(lambda: len(primaries(folder, cluster)) == 1, 150, "one of them is the primary")
    (primary,) = primaries(folder, cluster)
    (standby,) = (node for node in cluster.nodes if node is not primary)
    until(lambda: attribute(primary, "pgsql-status", primary.name) == "PRI", 60, "the agent says PRI")
    until(
        lambda: attribute(primary, "pgsql-status", standby.name).startswith("HS:async"),
        90,
        "the standby is connected, says the agent",
    )
    assert sql(folder, primary, "create table t (x int)") == "CREATE TABLE"
    assert sql(folder, primary, "insert into t values (42)") == "INSERT 0 1"
    until(lambda: sql(folder, standby, "select x from t") == "42", 30, "the row has arrived")
    primary.power_cut()
    until(lambda: sql(folder, standby, "select pg_is_in_recovery()") == "f", 120, "the standby was promoted")
    assert sql(folder, standby, "insert into t values (43)") == "INSERT 0 1"
    assert sql(folder, standby, "select count(*) from t") == "2"
    until(lambda: attribute(standby, "pgsql-status", standby.name) == "PRI", 60, "and says so")
