"""`hacli cluster token` on a member, `hacli cluster join TOKEN` on the new node; docs/adr/0030-joining.md."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from cli import preflight
from cli.authority import AuthorityFolder
from cli.certificates import fingerprint, make_crl, make_request, sign_request
from cli.commands.cluster import take_options
from cli.commands.services import start_enabled
from cli.context import EXIT_OK, Context, UsageError
from cli.joining.guest import Received, Told
from cli.joining.guest import join as ask_to_join
from cli.joining.host import Admission, Host, Newcomer
from cli.joining.token import SECRET_BYTES, Token, parse_token
from cli.members import Members, rendered, with_votes
from cli.preflight import Finding, Level
from hacluster import VERSION, shared_files
from hacluster.durations import parse_ms
from hacluster.errors import HaError, InvalidRequest, Timeout
from hacluster.paths import Paths
from hacluster.settings import NODE_NAME, Node, Settings
from hacluster.shared_files import SharedFiles
from hacluster.supervision import NODE_VARIABLE
from hacluster.v1 import crm_pb2
from hacluster.vocabulary.ids import NodeId, NodeName

PORT: Final = 5563
EXPIRES_MS: Final = 600_000
VOTER_WITHIN_S: Final = 600.0
VOTER_PAUSE_S: Final = 0.5
VOTER_AGAIN_S: Final = 10.0
_USAGE: Final = "cluster token [--ca DIR] [--expires T] [--address ADDR]… [--port N] [--no-vote]"
_JOIN_USAGE: Final = "cluster join TOKEN [--address ADDR[,ADDR]…] [--check] [--verbose]"


def this_node(context: Context) -> str:
    """`--node`, HACLUSTER_NODE, or `uname -n`."""
    return context.options.node or os.environ.get(NODE_VARIABLE) or os.uname().nodename


# The member's side.


def token(context: Context, words: Sequence[str]) -> int:
    """`token`: print one, wait for the newcomer, make it a node and, when it has caught up, a voter."""
    plain = [word for word in words if word != "--no-vote"]
    values, rest = take_options(plain, ("--ca", "--expires", "--address", "--port"), _USAGE)
    if rest:
        raise UsageError(what=f"{rest[0]!r} is not understood", usage=_USAGE)
    members = Members(context.paths, this_node(context))
    folder = AuthorityFolder(context.paths, values.get("--ca", [""])[-1])
    authority = folder.load()
    me = members.settings.node(members.me)
    assert me is not None
    made = Token(
        cluster=members.settings.cluster_name,
        node=members.me,
        addresses=tuple(values.get("--address", me.addresses)),
        port=_number(values.get("--port", [str(PORT)])[-1], "--port"),
        ca=fingerprint(authority.certificate),
        secret=secrets.token_hex(SECRET_BYTES),
        until_s=int(time.time()) + _expires_ms(values.get("--expires", [""])[-1]) // 1_000,
    )
    admitting = Admitting(context, members, folder)
    host = Host(
        made,
        context.paths,
        look=lambda: {"cluster_toml": members.files.cluster_toml.decode(), "version": VERSION},
        admit=admitting.admit,
        tell=context.info,
    )
    context.print(made.text)
    context.out.flush()
    left = made.until_s - int(time.time())
    context.info(f"on the new node, within {left} s: hacli cluster join TOKEN (this command waits for it)")
    newcomer = asyncio.run(_hosted(host))
    if "--no-vote" in words:
        context.info(f"{newcomer.name} has no vote: hacli cluster vote {newcomer.name} 1")
        return EXIT_OK
    context.info(f"waiting until {newcomer.name} is up and has caught up; then it gets a vote")
    make_voter(context, members, newcomer.name, 1, VOTER_WITHIN_S)
    context.print(f"{newcomer.name} votes")
    return EXIT_OK


async def _hosted(host: Host) -> Newcomer:
    try:
        return await host.serve()
    except OSError as error:
        raise InvalidRequest(
            what=f"cannot listen: {error.strerror or error}", remedy="--address, --port"
        ) from None


def _number(text: str, what: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise UsageError(what=f"{what} {text}: a number 1 to 65535", usage=_USAGE)
    return int(text)


def _expires_ms(text: str) -> int:
    try:
        return parse_ms(text) if text else EXPIRES_MS
    except ValueError as error:
        raise UsageError(what=f"--expires: {error}", usage=_USAGE) from None


class Admitting:
    """Makes a newcomer a node: signed, in every cluster.toml, without a vote yet."""

    def __init__(self, context: Context, members: Members, folder: AuthorityFolder) -> None:
        self._context, self._members, self._folder = context, members, folder

    async def admit(self, newcomer: Newcomer) -> Admission:
        """Raises HaError when it cannot be."""
        state = await asyncio.to_thread(self._context.client.status)
        before = self._members.settings.node(newcomer.name)
        if any(one.name == newcomer.name and one.state == "member" for one in state.nodes):
            raise InvalidRequest(what=f"{newcomer.name} is a member already")
        node = _node_for(newcomer, self._members.settings, before)
        authority = self._folder.load()
        certificate = sign_request(authority, newcomer.request, node.name, node.addresses)
        revoked = self._folder.serials(node.name)

        def changed(settings: Settings, files: SharedFiles) -> SharedFiles:
            others = tuple(one for one in settings.nodes if one.name != node.name)
            nodes = tuple(sorted((*others, node), key=lambda one: one.id))
            highest = max(settings.highest_id, *(int(one.id) for one in nodes))
            after = replace(settings, nodes=nodes, highest_id=highest)
            crl = make_crl(authority, files.crl, revoked) if revoked else files.crl
            return replace(
                files,
                cluster_toml=rendered(after),
                crl=crl,
                nodes_pem=files.nodes_pem + certificate,
            )

        self._folder.keep(node.name, certificate)
        dc = await asyncio.to_thread(self._context.client.dc)
        done = await self._members.change(changed, first=dc or self._members.me)
        away = [name for name in done.away if name != node.name]
        if away:
            self._context.warning(f"{' '.join(away)}: away, will hear of it on return")
        return Admission(
            cluster_toml=done.files.cluster_toml,
            authkeys=done.files.authkeys,
            crl=done.files.crl,
            nodes_pem=done.files.nodes_pem,
            certificate=certificate,
        )


def _node_for(newcomer: Newcomer, settings: Settings, before: Node | None) -> Node:
    """What cluster.toml shall say. Raises InvalidRequest."""
    if not NODE_NAME.fullmatch(newcomer.name):
        raise InvalidRequest(what=f"{newcomer.name!r} is not a node name")
    if before is not None:
        if before.addresses != newcomer.addresses:
            raise InvalidRequest(
                what=f"{newcomer.name} is configured with {' '.join(before.addresses)}",
                remedy=f"hacli cluster remove {newcomer.name}",
            )
        return before
    carriers = max(1, sum(1 for link in settings.links if link.kind in ("udp", "mcast", "bcast")))
    if len(newcomer.addresses) != carriers:
        raise InvalidRequest(
            what=f"{len(newcomer.addresses)} addresses for {carriers} links",
            remedy="--address A,B: one a link",
        )
    taken = {address: node.name for node in settings.nodes for address in node.addresses}
    for address in newcomer.addresses:
        if address in taken:
            raise InvalidRequest(what=f"{address} is {taken[address]}'s address")
    highest = max(settings.highest_id, *(int(node.id) for node in settings.nodes))
    return Node(id=NodeId(highest + 1), name=NodeName(newcomer.name), addresses=newcomer.addresses, votes=0)


def make_voter(context: Context, members: Members, name: str, votes: int, within_s: float) -> None:
    """Once it is up and in sync: in the DC's log first, then in every cluster.toml. Raises HaError."""
    node = members.settings.node(name)
    assert node is not None
    change = _Change(context)
    end = time.monotonic() + within_s
    while True:
        now = context.client.voters()
        if any(one.node_id == node.id and one.votes == votes for one in now.voters) and not now.next:
            break
        if node.id in now.in_sync and not now.next:
            change.ask(add={int(node.id): votes}, expected=now)
            continue
        if time.monotonic() > end:
            raise Timeout(
                what=f"{name} to catch up; later: hacli cluster vote {name} {votes}",
                after_ms=int(within_s * 1_000),
            )
        time.sleep(VOTER_PAUSE_S)
    write_votes(context, members)


def unmake_voter(context: Context, members: Members, node: Node) -> None:
    """Without its vote, in the DC's log first, then in every cluster.toml. Raises HaError.

    The voters that stay and are here may still have to catch up with the newest write: they are waited for.
    """
    change = _Change(context)
    end = time.monotonic() + context.options.wait_ms / 1_000
    while True:
        now = context.client.voters()
        if now.next:
            if time.monotonic() > end:
                raise Timeout(what="another change of the voters to end", after_ms=context.options.wait_ms)
            time.sleep(VOTER_PAUSE_S)
            continue
        if not any(one.node_id == node.id for one in now.voters):
            break
        if _catch_up(context, now, node) and time.monotonic() < end:
            time.sleep(VOTER_PAUSE_S)
            continue
        change.ask(remove=[int(node.id)], expected=now)
    if len(now.voters) == 2 and not now.witness_votes:
        _tell_of_two(context, two_node=now.two_node)
    write_votes(context, members)


def _tell_of_two(context: Context, *, two_node: bool) -> None:
    """What the DC has made of two voters that are left (`VotersWanted.two_node`)."""
    if two_node:
        context.info("two voters are left: one of them may go on alone (two_node, wait_for_all)")
    else:
        context.warning(
            "two voters are left without two_node: one alone goes on only by more votes or a tie-break"
        )


class _Change:
    """A change of the voters, asked for until it is made, or has been refused for VOTER_AGAIN_S.

    A write between the question who has got everything and this one may be why it is refused.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._since: float | None = None

    def ask(
        self,
        *,
        add: Mapping[int, int] | None = None,
        remove: Iterable[int] = (),
        expected: crm_pb2.VotersReply,
    ) -> None:
        """Once. Raises HaError when it has been refused for too long."""
        try:
            self._context.client.change_voters(add=add, remove=remove, expected=expected)
        except HaError:
            now = time.monotonic()
            self._since = now if self._since is None else self._since
            if now - self._since > VOTER_AGAIN_S:
                raise
            time.sleep(VOTER_PAUSE_S)


def _catch_up(context: Context, now: crm_pb2.VotersReply, going: Node) -> bool:
    """Whether a voter that stays is here, but has not got all of the CIB yet."""
    here = {int(one.id) for one in context.client.status().nodes if one.state == "member"}
    staying = {int(one.node_id) for one in now.voters} - {int(going.id)}
    return bool((staying & here) - set(now.in_sync))


def write_votes(context: Context, members: Members) -> None:
    """cluster.toml everywhere as the DC's log has the voters. Raises HaError."""
    now = context.client.voters()
    votes = {int(one.node_id): int(one.votes) for one in now.voters}
    dc = context.client.dc() or members.me

    def changed(settings: Settings, files: SharedFiles) -> SharedFiles:
        waits = now.wait_for_all if now.HasField("wait_for_all") else None
        voted = with_votes(settings, votes, two_node=now.two_node, wait_for_all=waits)
        return replace(files, cluster_toml=rendered(voted))

    asyncio.run(members.change(changed, first=dc))


def vote(context: Context, words: Sequence[str]) -> int:
    """`vote NODE [N]`: give a node that is up that many votes (1); 0 takes them away."""
    usage = "cluster vote NODE [VOTES]"
    if len(words) not in (1, 2) or not (len(words) == 1 or words[1].isdecimal()):
        raise UsageError(what="name a node and its votes", usage=usage)
    members = Members(context.paths, this_node(context))
    node = members.settings.node(words[0])
    if node is None:
        raise InvalidRequest(what=f"there is no node {words[0]}")
    votes = int(words[1]) if len(words) == 2 else 1
    if votes:
        make_voter(context, members, node.name, votes, context.options.wait_ms / 1_000)
    else:
        unmake_voter(context, members, node)
    context.print(f"{node.name} has {votes} vote{'' if votes == 1 else 's'}")
    return EXIT_OK


# The newcomer's side.


def join(context: Context, words: Sequence[str]) -> int:
    """`join TOKEN`: look first, then ask, write this node's files, and start it where systemd runs."""
    only_look, verbose = "--check" in words, "--verbose" in words
    plain = [word for word in words if word not in ("--check", "--verbose")]
    values, rest = take_options(plain, ("--address",), _JOIN_USAGE)
    if len(rest) != 1:
        crmsh = rest[:1] == ["-c"] and len(rest) == 2
        where = f": `hacli cluster token` on {rest[1]} prints one" if crmsh else ""
        raise UsageError(what=f"the token is needed{where}", usage=_JOIN_USAGE)
    node, ticket = this_node(context), parse_token(rest[0])
    if time.time() > ticket.until_s:
        raise InvalidRequest(what="the token is too old", remedy=f"hacli cluster token on {ticket.node}")
    if not only_look:
        make_room(context)
    asked = make_request(node)
    chosen: list[str] = [one for text in values.get("--address", []) for one in text.split(",") if one]

    async def check(told: Told) -> None:
        if not chosen:
            chosen.extend(_own_addresses(told.settings))
        found = await asyncio.to_thread(_findings, told, ticket.node, node, chosen)
        report(context, found, verbose=verbose)
        if only_look:
            raise _OnlyLooked

    try:
        received = asyncio.run(ask_to_join(ticket, node, chosen, asked, VERSION, check))
    except _OnlyLooked:
        context.print("the node can join")
        return EXIT_OK
    _write(context.paths, received, asked.key)
    context.print(f"{node} is a node of {ticket.cluster} now")
    start_enabled(context)
    return EXIT_OK


class _OnlyLooked(Exception):
    pass


def make_room(context: Context) -> None:
    """Refuse to write over a node's files; with -F what is there is put aside. Raises InvalidRequest."""
    paths = context.paths
    there = [paths.cluster_toml, paths.authkeys, paths.var / "cib", paths.var / "messaging"]
    full = [path for path in there if (any(path.iterdir()) if path.is_dir() else path.exists())]
    if not full:
        return
    if not context.options.force:
        raise InvalidRequest(
            what=f"this machine has been a node of a cluster: {' '.join(map(str, full))}",
            remedy="stop its services; hacli -F cluster join TOKEN puts these files aside",
        )
    if paths.crm_socket.exists() and _answers(context):
        raise InvalidRequest(what="ha-crm runs here", remedy="stop the services of this node first")
    for path in full:
        aside = path.with_name(f"{path.name}.before-{int(time.time())}")
        status = path.stat()
        path.rename(aside)
        if aside.is_dir():
            path.mkdir(mode=status.st_mode & 0o7777)
            os.chown(path, status.st_uid, status.st_gid)
        context.info(f"{path} is {aside} now")


def _answers(context: Context) -> bool:
    try:
        context.client.status(timeout_ms=2_000)
    except HaError:
        return False
    return True


def _own_addresses(settings: Settings) -> list[str]:
    """This machine's address in the network of each link: that from which the first node is reached."""
    import socket

    carriers = max(1, sum(1 for link in settings.links if link.kind in ("udp", "mcast", "bcast")))
    found = []
    for number in range(carriers):
        other = settings.nodes[0].addresses[number]
        with socket.socket(socket.AF_INET6 if ":" in other else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((other, 9))
            except OSError as error:
                raise InvalidRequest(
                    what=f"no way to {other}: {error.strerror}", remedy="--address A,B: one a link"
                ) from None
            found.append(str(probe.getsockname()[0]))
    return found


def _findings(told: Told, host: str, node: str, addresses: Sequence[str]) -> list[Finding]:
    settings = told.settings
    found = [preflight.clock(host, told.clock_ahead_ms), preflight.version(host, told.version, VERSION)]
    if node != os.uname().nodename:
        found.append(
            Finding(
                Level.WARNING,
                f"this node is called {node}, and `uname -n` says {os.uname().nodename}",
                f"{NODE_VARIABLE}={node} for its services",
            )
        )
    found += preflight.names([one for one in settings.nodes if one.name != node])
    found += preflight.own_addresses(addresses, settings)
    found += preflight.reachable([one for one in settings.nodes if one.name != node], settings)
    carriers = [link for link in settings.links if link.kind in ("udp", "mcast", "bcast")]
    found += preflight.multicast(zip(carriers, addresses, strict=False), settings)
    return found


def report(context: Context, found: Sequence[Finding], *, verbose: bool) -> None:
    """Say what is wrong, with `verbose` what is well, too. Raises InvalidRequest when something is bad."""
    for one in found:
        if one.level is Level.OK and verbose:
            context.info(str(one))
        elif one.level is Level.WARNING:
            context.warning(str(one))
    bad = [str(one) for one in found if one.level is Level.BAD]
    if bad and not context.options.force:
        raise InvalidRequest(what="; ".join(bad), remedy="nothing was changed; the token is still good")
    for text in bad:
        context.warning(text)


def _write(paths: Paths, received: Received, key: bytes) -> None:
    """cluster.toml last: without it nothing starts."""
    paths.etc.mkdir(mode=0o755, parents=True, exist_ok=True)
    paths.tls.mkdir(mode=0o750, exist_ok=True)
    owner = shared_files.daemons_owner(paths)
    for name, data, mode in (
        ("node.key", key, 0o600),
        ("ca.pem", received.ca, 0o644),
        ("node.pem", received.certificate, 0o644),
    ):
        shared_files.replace(paths.tls / name, data, mode, owner)
    os.chown(paths.tls, *owner)
    files = SharedFiles(
        cluster_toml=received.cluster_toml,
        authkeys=received.authkeys,
        crl=received.crl,
        nodes_pem=received.nodes_pem,
    )
    shared_files.write(paths, files)
