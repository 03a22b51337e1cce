"""How fast hacli starts: `python -m benchmarks.cli`. Ratios in one run, medians of CPU time.

`hacli --version` against `python3 -c pass`, `hacli status` against `python3 -c 'import grpc'` (a stand-in for
ha-crm answers on the agents' socket, so that only hacli counts), and completion in milliseconds.
"""

from __future__ import annotations

import json
import os
import resource
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from crm.cib import codec
from crm.cib.diff import element_out
from hacluster.paths import Paths

RUNS: Final = 15
ROOT: Final = Path(__file__).parents[2]
LIMITS: Final = {"--version": 2.0, "status": 1.3, "completion": 150.0}
PRIMITIVES: Final = 20
NODES: Final = 3


def a_cib() -> str:
    """A small site: groups with what runs in them."""
    nodes = "".join(f'<node id="{n}" uname="node{n}"/>' for n in range(1, NODES + 1))
    agent = 'class="ocf" provider="hacluster" type="Dummy"'
    resources = "".join(
        f'<primitive id="p{n}" {agent}><operations><op id="p{n}-m" name="monitor" interval="10s"/>'
        "</operations></primitive>"
        for n in range(PRIMITIVES)
    )
    states = ""
    for node in range(1, NODES + 1):
        history = "".join(
            f'<lrm_resource id="p{n}" {agent}><lrm_rsc_op id="p{n}_last_0" operation="start"'
            f' operation_key="p{n}_start_0" rc-code="0" op-status="0" call-id="{n + 2}" interval="0"'
            f' transition-key="1:1:0:x" transition-magic="0:0;1:1:0:x"/></lrm_resource>'
            for n in range(node - 1, PRIMITIVES, NODES)
        )
        states += (
            f'<node_state id="{node}" uname="node{node}" in_ccm="true" crmd="online"'
            f' join="member" expected="member"><lrm id="{node}"><lrm_resources>{history}'
            "</lrm_resources></lrm></node_state>"
        )
    option = '<nvpair id="o-s" name="stonith-enabled" value="false"/>'
    options = f'<cluster_property_set id="o">{option}</cluster_property_set>'
    return (
        f'<cib have-quorum="1"><configuration><crm_config>{options}</crm_config><nodes>{nodes}</nodes>'
        f"<resources>{resources}</resources><constraints/></configuration><status>{states}</status></cib>"
    )


class _Answers(socketserver.StreamRequestHandler):
    answer = b""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(self.answer)


@contextmanager
def a_daemon(paths: Paths) -> Iterator[None]:
    """Stands in for ha-crm on the agents' socket."""
    paths.run.mkdir(parents=True)
    status = {
        "cluster_name": "bench",
        "node": "node1",
        "dc": "node1",
        "term": "1.1",
        "view": "1.1",
        "quorate": True,
    }
    answer = {"ok": True, "status": status, "cib": element_out(codec.parse(a_cib()))}
    _Answers.answer = json.dumps(answer).encode() + b"\n"
    with socketserver.ThreadingUnixStreamServer(str(paths.agent_socket), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()


def cpu_ms(command: Sequence[str], environment: dict[str, str]) -> float:
    """User and system time of one run. Raises AssertionError when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, (command, done.stderr.decode())
    return 1_000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measured(commands: dict[str, Sequence[str]], environment: dict[str, str]) -> dict[str, float]:
    """Medians; the commands take turns, so that what else happens meets them all."""
    for command in commands.values():
        cpu_ms(command, environment)  # byte code is written, files are read
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            found[name].append(cpu_ms(command, environment))
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> int:
    """Print the ratios; status 1 when one is above its limit."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(Path(folder))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": f"{folder}/pyc"}
        cib = Path(folder) / "cib.xml"
        cib.write_text(a_cib())
        hacli = [sys.executable, "-c", "import sys; from cli.__main__ import main; sys.exit(main())"]
        lines = {
            "ids": "hacli resource stop ",
            "parameters": "hacli configure primitive x ocf:hacluster:IPaddr params ",
        }
        commands: dict[str, Sequence[str]] = {
            "python3 -c pass": [sys.executable, "-c", "pass"],
            "import grpc": [sys.executable, "-c", "import grpc"],
            "hacli --version": [*hacli, "--version"],
            "hacli status": [*hacli, "--root", folder, "status"],
        }
        commands |= {
            f"completion of {name}": [*hacli, "--cib-file", str(cib), "--compgen", str(len(line)), line]
            for name, line in lines.items()
        }
        with a_daemon(paths):
            found = measured(commands, environment)
    for name, value in found.items():
        print(f"{name:26} {value:7.1f} ms")
    ratios = {
        "--version": found["hacli --version"] / found["python3 -c pass"],
        "status": found["hacli status"] / found["import grpc"],
        "completion": max(value for name, value in found.items() if name.startswith("completion")),
    }
    print(f"hacli --version / python3 -c pass   {ratios['--version']:.2f} (limit {LIMITS['--version']})")
    print(f"hacli status / import grpc          {ratios['status']:.2f} (limit {LIMITS['status']})")
    slowest, limit = ratios["completion"], LIMITS["completion"]
    print(f"completion, the slowest             {slowest:.0f} ms (limit {limit:.0f} ms)")
    return 1 if any(ratios[name] > limit for name, limit in LIMITS.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
