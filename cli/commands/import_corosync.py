"""`hacli import corosync`: corosync.conf, and a CIB of Pacemaker's -> the files of our nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli.cluster_files import copy_hint, new_authkeys, write_cluster
from cli.commands.cluster import take_options
from cli.commands.import_heartbeat import hosts_of, text_of
from cli.context import EXIT_OK, Context, UsageError
from crm.cib import codec
from hacluster import corosync_conf
from hacluster.errors import InvalidDocument, InvalidDocuments

_USAGE: Final = "import corosync FILE [--cib CIB] [--keep-corosync] [--output OUT] [--hosts FILE]"
_OUTPUT_DEFAULT: Final = "hacluster-nodes"


def run(context: Context, words: Sequence[str]) -> int:
    """Convert, say what was taken for what, write a folder a node; nothing when a line is wrong."""
    keep = "--keep-corosync" in words
    values, rest = take_options(
        [word for word in words if word != "--keep-corosync"], ("--output", "--cib", "--hosts"), _USAGE
    )
    if len(rest) != 1:
        raise UsageError(what="name the file corosync.conf", usage=_USAGE)
    file = Path(rest[0])
    hosts_file = values.get("--hosts", ["/etc/hosts"])[-1]
    hosts = hosts_of(Path(hosts_file))
    converted = corosync_conf.convert(
        text_of(file, "name the file corosync.conf"),
        source=str(file),
        keep_corosync=keep,
        resolve=lambda name: hosts.get(name.lower(), ()),
        hosts=hosts_file,
    )
    cib = values.get("--cib", [""])[-1]
    initial = _cib(Path(cib), converted) if cib else ""
    for note in converted.notes:
        context.info(note)
    for warning in converted.warnings:
        context.warning(warning)
    if not cib:
        context.info("resources: give --cib the output of `cibadmin --query`, or `hacli cib import` it later")
    if keep:
        context.info('backend = "corosync": corosync goes on running beside our services, with this file')
    folders = write_cluster(
        Path(values.get("--output", [_OUTPUT_DEFAULT])[-1]),
        converted.settings,
        authkeys=new_authkeys(),
        heading=f"Made by `hacli import corosync` from {file}. The same on every node.",
        initial_cib=initial,
    )
    for one in folders:
        context.print(str(one))
    context.info(copy_hint(folders))
    return EXIT_OK


def _cib(path: Path, converted: corosync_conf.Converted) -> str:
    """What nodes read at their first start; its configuration alone counts. Raises InvalidDocuments."""
    root = codec.parse(text_of(path, "give the output of `cibadmin --query`"), source=str(path))
    configuration = root.child("configuration") if root.tag == "cib" else root
    section = configuration.child("nodes") if configuration is not None else None
    names = {node.name for node in converted.settings.nodes}
    errors = [
        InvalidDocument(
            source=str(path),
            line=0,
            what=f"its node {node.get('uname')} is none of corosync.conf's",
            remedy="take both files from the same cluster",
        )
        for node in (section.all("node") if section is not None else ())
        if node.get("type", "member") == "member" and node.get("uname") not in names
    ]
    if configuration is None or configuration.tag != "configuration":
        what = f"<{root.tag}> is no CIB"
        errors.append(InvalidDocument(source=str(path), line=1, what=what, remedy="`cibadmin --query`"))
    if errors:
        raise InvalidDocuments(errors=tuple(errors))
    return codec.render(root)
