"""`hacli import heartbeat`: ha.cf, haresources, authkeys of heartbeat v1 -> the files of our nodes."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli.cluster_files import copy_hint, new_authkeys, write_cluster
from cli.commands.cluster import node_addresses, take_options
from cli.context import EXIT_OK, Context, UsageError
from crm.cib import codec, haresources
from hacluster import ha_cf
from hacluster.digits import is_count
from hacluster.errors import InvalidDocument, InvalidDocuments

_USAGE: Final = (
    "import heartbeat DIR [--output OUT] [--as-is] [--node NAME=ADDR[,ADDR]]… [--name NAME] [--hosts FILE]"
)
_OUTPUT_DEFAULT: Final = "hacluster-nodes"
_SECRET_BYTES_SHORT: Final = 16


def run(context: Context, words: Sequence[str]) -> int:
    """Convert, say what was taken for what, write a folder a node; nothing when a line is wrong."""
    as_is = "--as-is" in words
    known = ("--output", "--node", "--name", "--hosts")
    values, rest = take_options([word for word in words if word != "--as-is"], known, _USAGE)
    if len(rest) != 1:
        raise UsageError(what="name the folder of ha.cf and haresources", usage=_USAGE)
    folder = Path(rest[0])
    hosts_file = values.get("--hosts", ["/etc/hosts"])[-1]
    hosts = hosts_of(Path(hosts_file))
    errors: list[InvalidDocument] = []
    converted = resources = None
    try:
        converted = ha_cf.convert(
            text_of(folder / "ha.cf"),
            source=str(folder / "ha.cf"),
            name=values.get("--name", [""])[-1],
            resolve=lambda name: hosts.get(name.lower(), ()),
            hosts=hosts_file,
            addresses=node_addresses(values.get("--node", []), _USAGE),
        )
    except InvalidDocuments as error:
        errors += error.errors
    if converted is not None and not converted.uses_crm:
        try:
            resources = _resources(folder, converted, as_is=as_is)
        except InvalidDocuments as error:
            errors += error.errors
    authkeys, key_notes = _authkeys(folder / "authkeys", errors)
    if errors:
        raise InvalidDocuments(errors=tuple(errors))
    assert converted is not None
    _say(context, converted, resources, key_notes)
    folders = write_cluster(
        Path(values.get("--output", [_OUTPUT_DEFAULT])[-1]),
        converted.settings,
        authkeys=authkeys,
        heading=f"Made by `hacli import heartbeat` from {folder / 'ha.cf'}. The same on every node.",
        initial_cib=codec.render(resources.cib) if resources is not None else "",
    )
    for one in folders:
        context.print(str(one))
    context.info(copy_hint(folders))
    return EXIT_OK


def _say(
    context: Context,
    converted: ha_cf.Converted,
    resources: haresources.Converted | None,
    key_notes: Sequence[str],
) -> None:
    for note in (*converted.notes, *(resources.notes if resources is not None else ()), *key_notes):
        context.info(note)
    if converted.stonith:
        context.warning(
            "ha.cf names fencing devices: stonith-enabled is true, and nothing starts until a device is "
            "defined (`hacli configure primitive NAME stonith:TYPE …`)"
        )
    elif resources is not None:
        context.warning(
            "there is no fencing: stonith-enabled is false, as in heartbeat. A node that only seems dead may "
            "go on using what the other one takes over"
        )
    if resources is None:
        context.warning("ha.cf says crm: resources are in heartbeat's CIB; use `hacli cib import` for it")


def text_of(path: Path, remedy: str = "give the folder of heartbeat's files") -> str:
    """Raises InvalidDocuments."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or str(error)
        problem = InvalidDocument(source=str(path), line=0, what=what, remedy=remedy)
        raise InvalidDocuments(errors=(problem,)) from None


def _resources(folder: Path, converted: ha_cf.Converted, *, as_is: bool) -> haresources.Converted:
    options = haresources.Options(
        nodes=tuple((node.id, node.name) for node in converted.settings.nodes),
        auto_failback=converted.auto_failback,
        stonith=converted.stonith,
        cluster_name=converted.settings.cluster_name,
        as_is=as_is,
    )
    path = folder / "haresources"
    return haresources.convert(text_of(path), options, _installed(folder), source=str(path))


def _installed(folder: Path) -> haresources.Installed:
    """What is on this machine. `folder` may be a copy of /etc/ha.d with scripts of its own."""

    def any_of(*folders: str | Path) -> list[Path]:
        return [Path(one) for one in folders]

    def holds(folders: list[Path], name: str, suffix: str = "") -> bool:
        return any(_is_program(one / f"{name}{suffix}") for one in folders)

    ocf = Path(os.environ.get("OCF_ROOT", "/usr/lib/ocf")) / "resource.d" / "heartbeat"
    units = any_of("/etc/systemd/system", "/run/systemd/system", "/lib/systemd/system")
    return haresources.Installed(
        resource_d=lambda name: holds(any_of(folder / "resource.d", "/etc/ha.d/resource.d"), name),
        init_d=lambda name: holds(any_of("/etc/init.d"), name),
        heartbeat_ocf=lambda name: holds([ocf], name),
        systemd=lambda name: any((one / f"{name}.service").is_file() for one in units),
    )


def _is_program(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)


def hosts_of(path: Path) -> dict[str, tuple[str, ...]]:
    """Names of a file like /etc/hosts -> addresses in order; loopback ones name no node to the others."""
    found: dict[str, tuple[str, ...]] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        address, *names = line.partition("#")[0].split() or [""]
        try:
            if not address or ipaddress.ip_address(address).is_loopback:
                continue
        except ValueError:
            continue
        for name in names:
            found[name.lower()] = (*found.get(name.lower(), ()), address)
    return found


def _authkeys(path: Path, errors: list[InvalidDocument]) -> tuple[str, list[str]]:
    """The key file to write and what to say of it. A file without a real key gets a new one."""

    def wrong(line: int, what: str, remedy: str) -> None:
        errors.append(InvalidDocument(source=str(path), line=line, what=what, remedy=remedy))

    if not path.exists():
        return new_authkeys(), [f"{path}: there is none: a new key was made"]
    chosen = ""
    keys: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        words = line.partition("#")[0].split()
        match words:
            case []:
                continue
            case ["auth", identifier]:
                chosen = identifier
            case [identifier, "crc"] if is_count(identifier):
                keys[identifier] = ("crc", "")
            case [identifier, method, secret] if is_count(identifier) and method in ("sha1", "md5", "sha256"):
                keys[identifier] = (method, secret)
            case [identifier, "aes256gcm", secret] if is_count(identifier):
                keys[identifier] = ("aes256gcm", secret)
            case _:
                wrong(number, "neither `auth N` nor `N METHOD SECRET`", "METHOD is crc, md5 or sha1")
    if errors:
        return "", []
    if chosen not in keys:
        wrong(0, f"`auth {chosen}` names no key of the file", "add the line, or correct auth")
        return "", []
    method, secret = keys[chosen]
    if method == "crc":
        return new_authkeys(), [
            f"{path}: crc is no key, anybody could join: a real one was made (sha256, 32 bytes)"
        ]
    real = {identifier: one for identifier, one in keys.items() if one[0] != "crc"}
    lines = [f"auth {chosen}", *(f"{identifier} {one[0]} {one[1]}" for identifier, one in real.items())]
    notes = [f"{path}: key {chosen} is kept as key material; packets are signed with HMAC-SHA256"]
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        notes.append(
            f"{path}: others could read this key: `hacli cluster key generate` makes one that nobody has seen"
        )
    if len(secret) < _SECRET_BYTES_SHORT:
        notes.append(f"{path}: key {chosen} is short; `hacli cluster key generate` makes a better one")
    return "\n".join(lines) + "\n", notes
