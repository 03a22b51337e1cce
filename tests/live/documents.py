"""CIBs for the live tests, as initial-cib.xml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

VIP = "172.16.20.100"

RESOURCES: Mapping[str, Mapping[str, object]] = {
    "ip": {"address": VIP},
    "fs": {"mount": "/var/www/html"},
    "web": {"listen": 80},
}
"""The tutorial's three for the onlooker, in their order."""


@dataclass(frozen=True, kw_only=True)
class Primitive:
    """One resource; `timeouts` in seconds by operation."""

    id: str
    agent: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)
    timeouts: Mapping[str, str] = field(default_factory=dict)
    monitor: str = "1s"

    def xml(self) -> str:
        standard, *provider, kind = self.agent.split(":")
        operations = {"monitor": "20s", **self.timeouts}
        origin = f' provider="{provider[0]}"' if provider else ""
        lines = [f'<primitive id="{self.id}" class="{standard}"{origin} type="{kind}">']
        lines.append(pairs("instance_attributes", self.id, self.parameters))
        lines.append("<operations>")
        for name, timeout in operations.items():
            interval = self.monitor if name == "monitor" else "0s"
            identifier = f"{self.id}-{name}-{interval}"
            lines.append(f'<op id="{identifier}" name="{name}" interval="{interval}" timeout="{timeout}"/>')
        lines.append("</operations>")
        lines.append(pairs("meta_attributes", self.id, self.meta))
        lines.append("</primitive>")
        return "\n".join(line for line in lines if line)


def pairs(tag: str, owner: str, values: Mapping[str, str]) -> str:
    """An attribute set, nothing when it would be empty."""
    if not values:
        return ""
    identifier = f"{owner}-{tag}"
    items = "".join(
        f'<nvpair id="{identifier}-{name}" name="{name}" value={quoteattr(value)}/>'
        for name, value in values.items()
    )
    return f'<{tag} id="{identifier}">{items}</{tag}>'


def tutorial() -> list[Primitive]:
    """Address, file system, web server."""
    return [
        Primitive(
            id="ip",
            agent="ocf:hacluster:IPaddr",
            parameters={"ip": VIP, "cidr_netmask": "16", "nic": "eth0"},
        ),
        Primitive(
            id="fs",
            agent="ocf:hacluster:Filesystem",
            parameters={
                "device": "/shared/htdoc",
                "directory": "/var/www/html",
                "fstype": "none",
                "options": "bind",
            },
        ),
        Primitive(id="web", agent="ocf:hacluster:WebServer"),
    ]


def cib(
    group: Sequence[Primitive],
    *,
    prefer: str = "",
    properties: Mapping[str, str] | None = None,
    alone: Sequence[Primitive] = (),
) -> str:
    """A group that prefers a node, and resources beside it; fencing is off."""
    options = {"stonith-enabled": "false", **(properties or {})}
    members = "\n".join(primitive.xml() for primitive in group)
    others = "\n".join(primitive.xml() for primitive in alone)
    location = f'<rsc_location id="home" rsc="all" node="{prefer}" score="100"/>' if prefer else ""
    return f"""<configuration>
<crm_config>{pairs("cluster_property_set", "options", options)}</crm_config>
<nodes/>
<resources><group id="all">{members}</group>{others}</resources>
<constraints>{location}</constraints>
</configuration>
"""
