"""What the commands cost that agents call back with: CPU milliseconds, beside `python3 -c pass`.

`python -m benchmarks.callbacks [ROUNDS]`. ha-crm's side is a thread that answers at once; its CIB has three
nodes and 60 resources. Limit: 60 ms of CPU each.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from agents.catalog import our_sbin_dir

LIMIT_MS = 60.0
PLAIN = "/usr/bin/python3 -c pass"

COMMANDS = (
    "crm_attribute -N node1 -l reboot -n pgsql-status -v PRI",
    "crm_attribute -N node1 -l reboot -n pgsql-status -G -q",
    "crm_master -l reboot -v 10",
    "attrd_updater -n pingd -v 100 -d 5s",
    "crm_node -l",
    "crm_resource -W -r r1",
    "crm_resource --list-operations -N node1",
    "crm_mon -1X",
    "cibadmin -Q",
    "crm_simulate -Ls",
    "crm_failcount -G -r r1 -N node1",
    "crm_standby -G -N node1",
    "crm_ticket -L",
    "crm_error -X 105",
    "pacemakerd -$",
)


def main() -> int:
    """Measure and print; 1 when a command is above the limit."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.sock"
        threading.Thread(target=serve, args=(path,), daemon=True).start()
        environ = {
            "HACLUSTER_AGENT_SOCKET": str(path),
            "OCF_RESOURCE_INSTANCE": "r1",
            "PATH": "/usr/bin:/bin",
        }
        plain = cpu_ms(PLAIN.split(), environ, rounds)
        print(f"{'CPU ms, median of ' + str(rounds):58}{plain:8.1f}  {PLAIN}")
        worst = 0.0
        for command in COMMANDS:
            name, *argv = command.split()
            used = cpu_ms([str(our_sbin_dir() / name), *argv], environ, rounds)
            worst = max(worst, used)
            print(f"{command:58}{used:8.1f}  {used / plain:4.1f} x")
    print(f"worst {worst:.1f} ms, limit {LIMIT_MS:g} ms")
    return int(worst > LIMIT_MS)


def cpu_ms(command: list[str], environ: dict[str, str], rounds: int) -> float:
    used = []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode in (0, 105), f"{command} ended with {done.returncode}"
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(used) * 1_000


def serve(path: Path) -> None:
    """Answer every question with all that any of them wants."""
    nodes = [{"id": number, "name": f"node{number}", "member": True} for number in (1, 2, 3)]
    answer = {
        "ok": True,
        "value": "PRI",
        "node": "node1",
        "local": "node1",
        "quorate": True,
        "nodes": nodes,
        "locations": [{"node": "node1", "role": "Started"}],
        "actions": [],
        "xml": a_cib(),
    }
    line = json.dumps(answer).encode() + b"\n"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(line)


def a_cib() -> str:
    ids = [f"r{number}" for number in range(1, 61)]
    resources = "".join(f'<primitive id="{one}" class="ocf" provider="p" type="T"/>\n' for one in ids)
    history = "".join(
        f'<lrm_resource id="{one}" class="ocf" provider="p" type="T"><lrm_rsc_op id="{one}_last_0" '
        f'operation_key="{one}_start_0" operation="start" call-id="7" rc-code="0" op-status="0" interval="0" '
        'transition-key="1:1:0:u" transition-magic="0:0;1:1:0:u"/></lrm_resource>\n'
        for one in ids
    )
    nodes = "".join(f'<node id="{number}" uname="node{number}"/>' for number in (1, 2, 3))
    states = "".join(
        f'<node_state id="{number}" uname="node{number}" in_ccm="1" crmd="1" join="member" expected="member">'
        f"<lrm><lrm_resources>{history if number == 1 else ''}</lrm_resources></lrm></node_state>\n"
        for number in (1, 2, 3)
    )
    return (
        f'<cib dc-uuid="1" have-quorum="1"><configuration><nodes>{nodes}</nodes><resources>{resources}'
        f"</resources></configuration><status>{states}</status></cib>"
    )


if __name__ == "__main__":
    os.environ.pop("CIB_file", None)
    sys.exit(main())
