"""Bundles: the containers, addresses, connections and nodes that a <bundle> implies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from crm.cib.model import Element, element
from crm.scheduler import values
from crm.scheduler.model import (
    BundleData,
    Entry,
    Node,
    NodeKind,
    ProbeMode,
    Replica,
    Resource,
    WorkingSet,
)
from crm.scheduler.scores import INFINITY
from crm.scheduler.stages.unpack_nodes import create_remote_node, nvpairs, remote_connection
from hacluster.digits import is_count

Unpack = Callable[[WorkingSet, Element, Resource | None], Resource | None]

_CONTROL_PORT: Final = "3121"
REPLICAS_MAX: Final = 200  # more are not made: each is a node of the cluster
_INNER_NODE_SCORE: Final = 500
_AGENTS: Final = ("docker", "podman")


def unpack_bundle(work: WorkingSet, bundle: Resource, unpack: Unpack) -> bool:
    """Create everything inside a bundle; False where it has to be rejected."""
    runtime = next((child for child in bundle.element.children if child.tag in _AGENTS), None)
    if runtime is None or not runtime.get("image"):
        return False
    primitive = bundle.element.child("primitive")
    promoted_max = _number(runtime, "promoted-max", _number(runtime, "masters", 0))
    data = BundleData(
        runtime=runtime.tag,
        image=runtime.get("image"),
        promoted_max=promoted_max,
        replicas_max=min(
            REPLICAS_MAX, max(1, _number(runtime, "replicas", promoted_max if promoted_max > 0 else 1))
        ),
        per_host=max(1, _number(runtime, "replicas-per-host", 1)),
        run_command=runtime.get("run-command"),
        options=runtime.attributes.get("options"),
    )
    bundle.bundle = data
    bundle.unique = data.per_host > 1  # as configured: even where a control port allows but one a host
    _read_network(bundle.element.child("network"), data)
    data.network["network"] = runtime.get("network")
    _read_storage(bundle.element.child("storage"), data)
    if primitive is not None and not _prepare_for_primitive(data):
        return False
    if primitive is not None:
        data.child = unpack(work, _inner_clone(bundle, data, primitive), bundle)
        if data.child is None:
            return False
    if not _make_replicas(work, bundle, data, unpack):
        return False
    if data.child is not None:
        bundle.children.append(data.child)
    return True


def _number(item: Element, name: str, default: int) -> int:
    text = item.attributes.get(name)
    return default if text is None else max(0, values.integer(text))


def _read_network(item: Element | None, data: BundleData) -> None:
    if item is None:
        data.add_host = True
        return
    data.network = dict(item.attributes)
    data.add_host = values.is_true(item.attributes.get("add-host"), default=True)
    for one in item.all("port-mapping"):
        port = one.attributes.get("port") or one.get("range")
        data.ports.append((port, one.attributes.get("internal-port") or port))


def _read_storage(item: Element | None, data: BundleData) -> None:
    for one in item.all("storage-mapping") if item is not None else ():
        source = one.attributes.get("source-dir")
        per_replica = source is None
        if source is None:
            source = one.get("source-dir-root")
        if source and one.get("target-dir"):
            data.mounts.append((source, one.get("target-dir"), one.get("options"), per_replica))


def _prepare_for_primitive(data: BundleData) -> bool:
    control_port = data.network.get("control-port")
    if not data.network.get("ip-range-start"):
        if not control_port:
            return False
        data.per_host = 1
    data.mounts.append(("/etc/pacemaker/authkey", "/etc/pacemaker/authkey", "", False))
    if all(target != "/var/log" for _, target, _, _ in data.mounts):
        data.mounts.append(("/var/log/pacemaker/bundles", "/var/log", "", True))
    port = control_port or _CONTROL_PORT
    data.ports.append((port, port))
    return True


def _inner_clone(bundle: Resource, data: BundleData, primitive: Element) -> Element:
    suffix = "master" if data.promoted_max > 0 else "clone"
    meta = {
        "ordered": "true",
        "clone-max": str(data.replicas_max),
        "clone-node-max": str(data.per_host),
        "globally-unique": "true" if data.per_host > 1 else "false",
    }
    if data.promoted_max > 0:
        meta["promotable"] = "true"
        meta["promoted-max"] = str(data.promoted_max)
    name = f"{bundle.id}-{suffix}"
    return element("clone", {"id": name}, nvpairs("meta_attributes", f"{name}-meta", meta), primitive)


def _make_replicas(work: WorkingSet, bundle: Resource, data: BundleData, unpack: Unpack) -> bool:
    address = data.network.get("ip-range-start", "")
    addresses: list[str] = []
    for _ in range(data.replicas_max):
        addresses.append(address)
        address = _successor(address)
    hosts = "".join(
        f" --add-host={bundle.id}-{number}:{one}"
        if data.add_host
        else f" --hosts-entry={one}={bundle.id}-{number}"
        for number, one in enumerate(addresses)
        if one
    )
    instances = data.child.children if data.child is not None else []
    for number, one in enumerate(addresses):
        container = unpack(work, _container(bundle, data, number, one, hosts), bundle)
        if container is None:
            return False
        replica = Replica(number, container, one)
        if number < len(instances):
            replica.child = instances[number]
        data.replicas.append(replica)
        bundle.children.append(container)
        container.replica = replica
        if one:
            replica.ip = unpack(work, _ip(data, bundle, one), bundle)
            if replica.ip is not None:
                replica.ip.replica = replica
                bundle.children.append(replica.ip)
        if replica.child is not None:
            _make_connection(work, bundle, data, replica, unpack)
    if data.child is not None and any(one.notify for one in data.child.children):
        data.child.notify = True
    return True


def _successor(address: str) -> str:
    parts = address.split(".")
    if len(parts) != 4 or not all(is_count(part) for part in parts):
        return ""
    third, fourth = int(parts[2]), int(parts[3])
    fourth += 1
    if fourth > 254:
        third, fourth = third + 1, 1
    return f"{parts[0]}.{parts[1]}.{third}.{fourth}"


def _container(bundle: Resource, data: BundleData, number: int, address: str, hosts: str) -> Element:
    with_primitive = data.child is not None
    parameters = {
        "image": data.image,
        "allow_pull": "true",
        "force_kill": "false",
        "reuse": "false",
        "run_opts": _run_options(bundle, data, number, address, hosts),
        "mount_points": ",".join(
            f"{source}/{bundle.id}-{number}" for source, _, _, per_replica in data.mounts if per_replica
        ),
    }
    command = data.run_command or ("/usr/sbin/pacemaker-remoted" if with_primitive else "")
    if command:
        parameters["run_cmd"] = command
    parameters["monitor_cmd"] = "/bin/true"
    return _implicit(f"{bundle.id}-{data.runtime}-{number}", data.runtime, parameters)


def _run_options(bundle: Resource, data: BundleData, number: int, address: str, hosts: str) -> str:
    text = " --restart=no" if data.runtime == "docker" else ""
    if address:
        text += f" -h {bundle.id}-{number}"
    text += " -e PCMK_stderr=1"
    network = data.network.get("network")
    if network:
        text += f" --net={network}"
    text += f" -e PCMK_remote_port={data.network.get('control-port') or _CONTROL_PORT}"
    for source, target, options, per_replica in data.mounts:
        place = f"{source}/{bundle.id}-{number}" if per_replica else source
        text += f" -v {place}:{target}" + (f":{options}" if options else "")
    for source, target in data.ports:
        if address:
            text += f" -p {address}:{source}:{target}"
        elif network != "host":
            text += f" -p {source}:{target}"
    if data.options is not None:
        text += f" {data.options}"
    return f"{text} {hosts}"


def _ip(data: BundleData, bundle: Resource, address: str) -> Element:
    parameters = {"ip": address}
    interface = data.network.get("host-interface")
    if interface:
        parameters["nic"] = interface
    parameters["cidr_netmask"] = data.network.get("host-netmask") or "32"
    return _implicit(f"{bundle.id}-ip-{address}", "IPaddr2", parameters)


def _implicit(name: str, agent: str, parameters: dict[str, str]) -> Element:
    return element(
        "primitive",
        {"id": name, "class": "ocf", "provider": "heartbeat", "type": agent},
        nvpairs("instance_attributes", f"{name}-attributes", parameters),
        element(
            "operations",
            {},
            element("op", {"id": f"{name}-monitor-60s", "name": "monitor", "interval": "60s"}),
        ),
    )


def _make_connection(
    work: WorkingSet, bundle: Resource, data: BundleData, replica: Replica, unpack: Unpack
) -> None:
    child = replica.child
    assert child is not None
    assert child.parent is not None
    name = f"{bundle.id}-{replica.number}"
    if name in work.resources_by_id:
        name = f"{name}-remote"
    node = create_remote_node(work, name, NodeKind.GUEST)
    node.kind = NodeKind.GUEST
    node.attributes["#kind"] = "container"
    node.score = -INFINITY
    node.probe_mode = ProbeMode.NEVER
    _bar_from_everything(work, node)
    replica.node = node
    child.exclusive_probes = True
    child.replica = replica
    child.allowed = {node.id: Entry(node, _INNER_NODE_SCORE, 0, ProbeMode.EXCLUSIVE)}
    child.parent.allowed[node.id] = Entry(
        node, -INFINITY, 0, ProbeMode.EXCLUSIVE, (-INFINITY, "node", node.id, None)
    )
    xml = remote_connection(
        name,
        replica.container.id,
        address=replica.address or "#uname",
        port=data.network.get("control-port") or _CONTROL_PORT,
        connect_timeout=None,
    )
    connection = unpack(work, xml, bundle)
    if connection is None:
        return
    connection.remote_nesting_allowed = True
    connection.replica = replica
    connection.launcher = replica.container
    replica.container.launched.append(connection)
    for entry in connection.allowed.values():
        if entry.node.kind is not NodeKind.CLUSTER:
            entry.add(-INFINITY, "remote_node", connection.id)
    node.connection = connection
    replica.connection = connection
    bundle.children.append(connection)
    if child.utilization:
        replica.container.utilization = child.utilization
        child.utilization = {}


def _bar_from_everything(work: WorkingSet, node: Node) -> None:
    for top in work.resources:
        for one in top.walk():
            entry = one.allowed.get(node.id)
            if entry is not None:
                entry.replace(-INFINITY, "node", node.id)
                entry.probe_mode = ProbeMode.NEVER
