"""The demo's configuration: the tutorial's own files, imported as an administrator would import them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lxml import etree

from cli.demo.ground import CODE, HERE, LabError, code_path, host_env
from cli.demo.lab import Lab
from cli.demo.stand_ins import fast_timers, shared_file_system
from cli.demo.story import Timers
from hacluster import settings

NODES: Final = ("node1.nyist.com", "node2.nyist.com")
ADDRESS: Final = "172.16.20.100"
RESOURCES: Final[Mapping[str, Mapping[str, object]]] = {
    "address": {"address": ADDRESS},
    "file system": {"mount": "/var/www/html"},
    "web server": {"listen": 80},
}
"""What the onlooker looks for, in the order of haresources."""

FAST: Final = {"keepalive": "100ms", "deadtime": "500ms", "warntime": "250ms"}
_IMPORT_WITHIN_S: Final = 60.0
_WORTH_SAYING: Final = (" -> ", "authkeys: ", "fencing")
"""What of the import's remarks belongs into the story; the others are about files that it wrote."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the cluster was told, and what had to be said about it."""

    timers: Timers
    said: tuple[str, ...]


def example() -> Path:
    """The tutorial's ha.cf, authkeys and haresources: in the wheel, or in the checkout."""
    for folder in (HERE / "examples/heartbeat-v1", CODE / "deploy/examples/heartbeat-v1"):
        if folder.exists():
            return folder
    raise LabError(what="the tutorial's files (examples/heartbeat-v1) are missing", remedy="install again")


def prepare(lab: Lab, *, fast: bool) -> Setting:
    """Write every node's /etc/hacluster and make what they share. Raises LabError."""
    stand_in = shared_file_system(lab)
    work = lab.base_seen_from_here / "import"  # on the lab's own tmpfs: gone with it
    source, output = work / "ha.d", work / "out"
    shutil.copytree(example(), source)
    if fast:
        ha_cf = source / "ha.cf"
        ha_cf.write_text(fast_timers(ha_cf.read_text(), FAST))
    said = _import(source, output, lab)
    for node in lab.nodes:
        folder = output / node.name
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            text = path.read_text()
            if path.name == "initial-cib.xml":
                text = with_file_system(text, stand_in.parameters)
            node.write(str(path.relative_to(folder)), text, path.stat().st_mode & 0o777)
    shutil.rmtree(work)
    configured = settings.load(lab.nodes[0].disk / "etc/hacluster/cluster.toml")
    timers = Timers(keepalive_ms=configured.timers.keepalive_ms, deadtime_ms=configured.timers.deadtime_ms)
    return Setting(timers, (*said, stand_in.words))


def _import(source: Path, output: Path, lab: Lab) -> tuple[str, ...]:
    addresses = [word for node in lab.nodes for word in ("--node", f"{node.name}={node.interfaces[0].ip}")]
    command = [sys.executable, "-m", "cli", "import", "heartbeat", str(source), "--output", str(output)]
    done = subprocess.run(
        [*command, *addresses],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=_IMPORT_WITHIN_S,
        env={**host_env(), "PYTHONPATH": code_path()},
    )
    if done.returncode:
        raise LabError(what=f"hacli import heartbeat: {(done.stdout + done.stderr).strip()}")
    lines = (done.stdout + done.stderr).splitlines()
    return tuple(_words(line) for line in lines if any(word in line for word in _WORTH_SAYING))


def _words(line: str) -> str:
    text = line.partition(": ")[2] if line.startswith(("INFO: ", "WARNING: ")) else line
    return f"import: {text.rpartition('/ha.d/')[2]}"


def with_file_system(cib_xml: str, parameters: Mapping[str, str]) -> str:
    """The imported CIB with other parameters of its Filesystem resource. Raises LabError when it has none."""
    root = etree.fromstring(cib_xml.encode())
    for primitive in root.iter("primitive"):
        if primitive.get("type") != "Filesystem":
            continue
        attributes = primitive.find("instance_attributes")
        if attributes is None:
            continue
        present = {pair.get("name"): pair for pair in attributes.findall("nvpair")}
        for name, value in parameters.items():
            if name in present:
                present[name].set("value", value)
            else:
                identifier = f"{attributes.get('id')}-{name}"
                attributes.append(etree.Element("nvpair", id=identifier, name=name, value=value))
        return etree.tostring(root, encoding="unicode")
    raise LabError(what="the imported configuration has no Filesystem resource")
