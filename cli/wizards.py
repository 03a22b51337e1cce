"""Ready-made services: a few parameters -> definitions in the language. Pure.

The agents named are those of the resource-agents package and our own; whether they are installed is for
`verify` to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cli.grammar.lexer import quoted
from hacluster.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One thing to be told. Without a default it is required; `check` is what the value must look like."""

    name: str
    summary: str
    default: str | None = None
    check: str = r".+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wizard:
    """One service. `text` gets all values (empty for what was left out) and makes the definitions."""

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    text: Callable[[Mapping[str, str]], str]


_ID: Final = r"[A-Za-z_][\w.-]*"
_IP: Final = r"[0-9a-fA-F.:]+"
_BITS: Final = r"\d{1,3}"
_PATH: Final = r"/.*"
_NAME: Final = Parameter(name="id", summary="the first part of every id", check=_ID)


def _address(values: Mapping[str, str]) -> str:
    bits = f" cidr_netmask={values['bits']}" if values["bits"] else ""
    return (
        f"primitive {values['id']}-ip ocf:heartbeat:IPaddr2 params ip={quoted(values['ip'])}{bits}"
        " op monitor interval=10s timeout=20s"
    )


def _file_system(values: Mapping[str, str]) -> str:
    return (
        f"primitive {values['id']}-fs ocf:heartbeat:Filesystem params device={quoted(values['device'])}"
        f" directory={quoted(values['directory'])} fstype={quoted(values['fstype'])}"
        " op start interval=0 timeout=60s op stop interval=0 timeout=60s op monitor interval=20s timeout=40s"
    )


_ADDRESS: Final = (
    Parameter(name="ip", summary="the address that moves with the service", check=_IP),
    Parameter(name="bits", summary="its prefix length", default="", check=_BITS),
)
_DISK: Final = (
    Parameter(name="device", summary="the shared device", default="", check=r".+"),
    Parameter(name="directory", summary="where it is mounted", default="/srv", check=_PATH),
    Parameter(name="fstype", summary="its file system", default="xfs", check=r"\w+"),
)


def _web(values: Mapping[str, str]) -> str:
    name = values["id"]
    lines = [_address(values)]
    members = [f"{name}-ip"]
    if values["device"]:
        lines.append(_file_system(values))
        members.append(f"{name}-fs")
    lines.append(
        f"primitive {name}-server ocf:heartbeat:apache params configfile={quoted(values['configfile'])}"
        " op start interval=0 timeout=40s op stop interval=0 timeout=60s op monitor interval=10s timeout=20s"
    )
    lines.append(f"group {name} {' '.join([*members, f'{name}-server'])}")
    return "\n".join(lines)


def _postgresql(values: Mapping[str, str]) -> str:
    name, nodes = values["id"], values["nodes"].replace(",", " ")
    return f"""{_address(values)}
primitive {name}-server ocf:heartbeat:pgsql \\
    params pgdata={quoted(values["pgdata"])} rep_mode=sync node_list={quoted(nodes)} \\
    master_ip={quoted(values["ip"])} restart_on_promote=true primary_conninfo_opt="keepalives_idle=60" \\
    op start interval=0 timeout=120s op stop interval=0 timeout=120s \\
    op promote interval=0 timeout=120s op demote interval=0 timeout=120s \\
    op monitor interval=7s timeout=60s op monitor interval=5s role=Promoted timeout=60s
clone {name} {name}-server meta promotable=true notify=true interleave=true
colocation {name}-ip-with-primary inf: {name}-ip {name}:Promoted
order {name}-promote-then-ip Mandatory: {name}:promote {name}-ip:start symmetrical=false
order {name}-demote-then-ip Optional: {name}:demote {name}-ip:stop symmetrical=false"""


def _nfs(values: Mapping[str, str]) -> str:
    name = values["id"]
    if not values["device"]:
        raise InvalidRequest(what="an NFS server needs its shared device", remedy="device=/dev/…")
    return f"""{_file_system(values)}
primitive {name}-server ocf:heartbeat:nfsserver \\
    params nfs_shared_infodir={quoted(values["directory"] + "/nfsinfo")} \\
    op start interval=0 timeout=40s op stop interval=0 timeout=20s op monitor interval=10s timeout=20s
primitive {name}-export ocf:heartbeat:exportfs \\
    params clientspec={quoted(values["clients"])} directory={quoted(values["directory"])} fsid=0 \\
    options={quoted(values["options"])} op monitor interval=10s timeout=20s
{_address(values)}
group {name} {name}-fs {name}-server {name}-export {name}-ip"""


def _haproxy(values: Mapping[str, str]) -> str:
    name = values["id"]
    return f"""{_address(values)}
primitive {name}-server {values["agent"]} op monitor interval=10s timeout=20s
clone {name}-servers {name}-server meta interleave=true
colocation {name}-ip-with-server inf: {name}-ip {name}-servers
order {name}-server-then-ip Mandatory: {name}-servers {name}-ip"""


def _vm(values: Mapping[str, str]) -> str:
    name = values["id"]
    moves = values["migrate"].lower() in ("true", "yes", "1", "on")
    transport = f" migration_transport={values['transport']}" if moves else ""
    return (
        f"primitive {name} ocf:heartbeat:VirtualDomain params config={quoted(values['config'])}"
        f" hypervisor={quoted(values['hypervisor'])}{transport}"
        f" meta allow-migrate={'true' if moves else 'false'} priority={values['priority']}"
        " op start interval=0 timeout=120s op stop interval=0 timeout=180s"
        " op monitor interval=10s timeout=30s"
        + (" op migrate_to interval=0 timeout=120s op migrate_from interval=0 timeout=60s" if moves else "")
    )


WIZARDS: Final = {
    one.name: one
    for one in (
        Wizard(
            name="web",
            summary="a web server with its address, and its shared file system when it has one",
            parameters=(
                _NAME,
                *_ADDRESS,
                *_DISK,
                Parameter(
                    name="configfile",
                    summary="of the server",
                    default="/etc/apache2/apache2.conf",
                    check=_PATH,
                ),
            ),
            text=_web,
        ),
        Wizard(
            name="postgresql",
            summary="PostgreSQL with streaming replication; the address is where the primary is",
            parameters=(
                _NAME,
                *_ADDRESS,
                Parameter(
                    name="nodes", summary="nodes with a copy, with commas", check=r"[\w.-]+(,[\w.-]+)+"
                ),
                Parameter(
                    name="pgdata", summary="the data folder", default="/var/lib/pgsql/data", check=_PATH
                ),
            ),
            text=_postgresql,
        ),
        Wizard(
            name="nfs",
            summary="an NFS server with its file system, export and address",
            parameters=(
                _NAME,
                *_ADDRESS,
                *_DISK,
                Parameter(name="clients", summary="who may mount", default="*"),
                Parameter(name="options", summary="of the export", default="rw,sync,no_root_squash"),
            ),
            text=_nfs,
        ),
        Wizard(
            name="haproxy",
            summary="HAProxy on every node, the address on one where it runs",
            parameters=(
                _NAME,
                *_ADDRESS,
                Parameter(
                    name="agent", summary="how it is run", default="systemd:haproxy", check=r"[\w:.@-]+"
                ),
            ),
            text=_haproxy,
        ),
        Wizard(
            name="vm",
            summary="a virtual machine of libvirt",
            parameters=(
                _NAME,
                Parameter(name="config", summary="its XML file, the same on all nodes", check=_PATH),
                Parameter(name="hypervisor", summary="URI of libvirt", default="qemu:///system"),
                Parameter(
                    name="migrate",
                    summary="whether it moves alive",
                    default="true",
                    check=r"(?i)true|false|yes|no|on|off|1|0",
                ),
                Parameter(
                    name="transport", summary="of a live migration", default="ssh", check=r"ssh|tls|tcp"
                ),
                Parameter(name="priority", summary="of the machine", default="0", check=r"-?\d+"),
            ),
            text=_vm,
        ),
    )
}


def definitions(wizard: Wizard, given: Mapping[str, str]) -> str:
    """The text that the wizard makes. Raises InvalidRequest with everything that is wrong."""
    wrong: list[str] = []
    values: dict[str, str] = {}
    known = {one.name for one in wizard.parameters}
    wrong += [f"{name} is not known" for name in given if name not in known]
    for one in wizard.parameters:
        value = given.get(one.name, one.default)
        if value is None:
            wrong.append(f"{one.name} is missing ({one.summary})")
        elif value and re.fullmatch(one.check, value) is None:
            wrong.append(f"{one.name}={value} is not {one.summary!r}")
        values[one.name] = value or ""
    if wrong:
        raise InvalidRequest(
            what=f"{wizard.name}: {'; '.join(wrong)}", remedy=f"see `hacli script show {wizard.name}`"
        )
    return wizard.text(values) + "\n"
