"""The services as the installed units run them: ha-lrm as root, the others as hacluster with few rights."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.demo.node import Node
from tests.live.running import running

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="other users need root"),
    pytest.mark.skipif(not shutil.which("setpriv"), reason="no setpriv program"),
]

# Users and folders as sysusers.d and tmpfiles.d say, with a group file of the node's own.
SET_UP = """
import grp, os, pwd, shutil, sys
for name in ("passwd", "group"):
    os.unlink(f"/etc/{name}")
    shutil.copy(f"/.host/etc/{name}", f"/etc/{name}")
with open("/etc/group", "a") as file:
    if "haclient" not in {entry.gr_name for entry in grp.getgrall()}:
        file.write("haclient:x:64100:\\n")
with open("/etc/passwd", "a") as file:
    if "hacluster" not in {entry.pw_name for entry in pwd.getpwall()}:
        file.write("hacluster:x:64100:64100::/var/lib/hacluster:/usr/sbin/nologin\\n")
for line in open(sys.argv[1]):
    words = line.split()
    if not words or words[0].startswith("#"):
        continue
    kind, path, mode, user, group = words[:5]
    uid, gid = pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid
    if kind in "dD":
        os.makedirs(path, exist_ok=True)
    targets = [path, *(os.path.join(path, name) for name in os.listdir(path))] if kind == "Z" else [path]
    for target in targets:
        os.chown(target, uid, gid)
        if mode != "-":
            os.chmod(target, int(mode, 8))
print(pwd.getpwnam("hacluster").pw_uid, grp.getgrnam("haclient").gr_gid)
"""


def rights(service: str, user: tuple[str, str]) -> list[str]:
    """setpriv's words for what the service's unit allows."""
    if service == "lrm":
        return []
    unit = (DEPLOY / f"systemd/ha-{service}.service").read_text()
    bounding = re.search(r"(?m)^CapabilityBoundingSet=(.*)$", unit)
    assert bounding is not None
    assert "NoNewPrivileges=yes" in unit
    names = [f"+{name.removeprefix('CAP_').lower()}" for name in bounding[1].split()]
    sets = ",".join(["-all", *names])
    who = ["--reuid", user[0], "--regid", user[1], "--clear-groups", "--no-new-privs"]
    return ["setpriv", *who, f"--inh-caps={sets}", f"--ambient-caps={sets}", f"--bounding-set={sets}"]


def start(node: Node, service: str, user: tuple[str, str]) -> subprocess.Popen[bytes]:
    log = node.disk / "var/log/hacluster" / f"{service}.log"
    command = [sys.executable, "-m", service, "--node", node.name, "--log-format", "json"]
    with log.open("wb") as output:
        return subprocess.Popen(
            node.enter(*rights(service, user), *command),
            env=node.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def reachable(user: tuple[str, str]) -> bool:
    """Whether that user can start our interpreter at all (one below /root cannot be)."""
    who = ["--reuid", user[0], "--regid", user[1], "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    command = ["setpriv", *who, "sh", "-c", 'exec "$0" -c ""', sys.executable]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_services_run_with_the_rights_of_their_units() -> None:
    processes = []
    with running(boot=False) as live:
        for node in live.nodes:
            node.boot(command=("/bin/sleep", "1000"))
            live.watch.tell(node)
        users = {
            node.name: node.exec(
                sys.executable, "-c", SET_UP, str(DEPLOY / "tmpfiles.d/hacluster.conf")
            ).stdout.split()
            for node in live.nodes
        }
        user = (users["n1"][0], users["n1"][1])
        if not reachable(user):
            pytest.skip(f"user {user[0]} cannot execute {sys.executable}")
        for node in live.nodes:
            processes += [start(node, service, user) for service in ("lrm", "messaging", "crm")]
        live.wait_served(live.one)
        live.wait_quiet()
        for service in ("messaging", "crm"):
            status = Path(f"/proc/{live.one.service_pid(service)}/status").read_text()
            assert re.search(rf"(?m)^Uid:\s+{user[0]}\s", status)
        live.audit()
        live.lab.close()
    for process in processes:
        process.wait(20)
