"""crm_node and pacemakerd: questions about the cluster."""

from __future__ import annotations

from agents.callback import client
from agents.callback.arguments import FLAG, VALUE, parse
from agents.callback.client import EXIT_ERROR, EXIT_NO_SUCH, EXIT_OK, EXIT_USAGE, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# ocf_local_nodename trusts `crm_node -n` from 1.1.8 on; agents that look for a newer one find it.
PACEMAKER_VERSION = "2.1.5"

_CRM_NODE = {
    "-n": ("name", FLAG),
    "--name": ("name", FLAG),
    "-i": ("id", FLAG),
    "--cluster-id": ("id", FLAG),
    "-l": ("list", FLAG),
    "--list": ("list", FLAG),
    "-p": ("partition", FLAG),
    "--partition": ("partition", FLAG),
    "-q": ("quorum", FLAG),
    "--quorum": ("quorum", FLAG),
    "-N": ("name_for", VALUE),
    "--name-for-id": ("name_for", VALUE),
    "-Q": ("quiet", FLAG),
    "--quiet": ("quiet", FLAG),
    "-V": ("ignored", FLAG),
}


def crm_node(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`crm_node -n | -i | -l [-p] | -p | -q | -N ID`; the exit code."""
    try:
        given = parse(argv, _CRM_NODE)
        # The environment knows the name: one question less for the most frequent call.
        if "name" in given and environ.get("HACLUSTER_NODE"):
            print(environ["HACLUSTER_NODE"])
            return EXIT_OK
        answer = client.ask({"command": "nodes", "resource": _instance(environ)}, environ)
        nodes = answer["nodes"]
        if "name" in given:
            print(answer["local"])
        elif "id" in given:
            print(next(node["id"] for node in nodes if node["name"] == answer["local"]))
        elif "quorum" in given:
            print(int(answer["quorate"]))
        elif "list" in given:
            for node in nodes:
                if node["member"] or "partition" not in given:
                    print(node["id"], node["name"], "member" if node["member"] else "lost")
        elif "partition" in given:
            print(" ".join(node["name"] for node in nodes if node["member"]))
        elif "name_for" in given:
            return _name_for(given["name_for"], nodes)
        else:
            raise Refused(EXIT_USAGE, "one of -n, -i, -l, -p, -q and -N is needed")
    except Refused as refused:
        return client.fail("crm_node", refused)
    return EXIT_OK


def pacemakerd(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`pacemakerd -$` prints a version that the agents' library trusts; nothing else is known."""
    if list(argv) in (["-$"], ["--version"]):
        print(f"Pacemaker {PACEMAKER_VERSION}")
        print(f"Answered by hacluster on {environ.get('HACLUSTER_NODE', 'this node')}")
        return EXIT_OK
    return client.fail("pacemakerd", Refused(EXIT_ERROR, "only -$ and --version are known here"))


def _name_for(wanted: str, nodes: Sequence[Mapping[str, object]]) -> int:
    for node in nodes:
        if str(node["id"]) == wanted:
            print(node["name"])
            return EXIT_OK
    raise Refused(EXIT_NO_SUCH, f"there is no node with id {wanted}")


def _instance(environ: Mapping[str, str]) -> str:
    return environ.get("OCF_RESOURCE_INSTANCE", "")
