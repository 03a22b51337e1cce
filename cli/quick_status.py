"""The state of the cluster over the agents' socket: plain JSON, so that `hacli status` need not load gRPC.

For root and the cluster's own user, who may open that socket. Whoever else asks, or when anything is unusual,
gets None, and the API is asked instead.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cli.render.cluster_text import Summary
from crm.cib.model import Element

WITHIN_S: Final = 9.5


def ask(path: Path) -> Mapping[str, Any] | None:
    """The answer to `status`, None when there is none to be had here."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(WITHIN_S)
        connection.connect(str(path))
        connection.sendall(b'{"command": "status"}\n')
        with connection.makefile("rb") as file:
            answer = json.loads(file.readline())
    except (OSError, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) and answer.get("ok") is True else None


def element_of(data: list[Any]) -> Element:
    """Inverse of `crm.cib.diff.element_out`; what comes is from our own daemon."""
    tag, attributes, children, text = data
    return Element(tag, attributes, tuple(map(element_of, children)), text)


def status(path: Path) -> tuple[Element, Summary] | None:
    """The CIB and the rest, as the renderer takes them."""
    answer = ask(path)
    if answer is None:
        return None
    known = {name: answer["status"].get(name, value) for name, value in _PLAIN.items()}
    transition = answer["status"].get("transition", {})
    return element_of(answer["cib"]), Summary(
        live=True,
        now_s=int(time.time()),
        notices=tuple(answer["status"].get("notices", ())),
        stopped=has_left(known["node"], answer["status"].get("nodes", ())),
        daemons=missing_daemons(answer["status"].get("nodes", ())),
        transition_state=transition.get("state", ""),
        transition_number=int(transition.get("number", 0)),
        transition_done=transition.get("done", 0),
        transition_actions=transition.get("actions", 0),
        running=tuple(transition.get("running", ())),
        waits=tuple(transition.get("waits", ())),
        **known,
    )


_PLAIN: Final[Mapping[str, Any]] = {
    "cluster_name": "",
    "node": "",
    "dc": "",
    "term": "",
    "view": "",
    "quorate": False,
    "waiting_for_all": False,
    "basis": "",
    "age_ms": 0,
    "last_change_s": 0,
    "last_change_by": "",
}


def has_left(name: str, nodes: Any) -> bool:
    """The node that answers says of itself that it has left."""
    return any(node.get("name") == name and node.get("state") == "left" for node in nodes)


def missing_daemons(nodes: Any) -> dict[str, str]:
    """Members whose ha-crm or ha-lrm is not there."""
    found = {}
    for node in nodes:
        missing = [name for name, key in (("ha-crm", "crm"), ("ha-lrm", "lrm")) if not node.get(key)]
        if node.get("state") == "member" and missing:
            found[node["name"]] = f"{' and '.join(missing)} not connected"
    return found
