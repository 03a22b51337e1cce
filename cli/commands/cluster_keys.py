"""`hacli cluster key`, `cluster cert`: the key of heartbeats, the nodes' certificates."""

from __future__ import annotations

import asyncio
import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography import x509

from cli.authority import AuthorityFolder
from cli.certificates import is_of_node, make_crl, make_request, make_user, sign_request
from cli.cluster_files import new_secret
from cli.commands.cluster import take_options
from cli.commands.cluster_join import this_node
from cli.context import EXIT_OK, Context, UsageError
from cli.members import Members, rendered
from hacluster import rpc, shared_files
from hacluster.errors import HaError, InvalidRequest
from hacluster.settings import Settings
from hacluster.shared_files import SharedFiles

KEY_ID_MAX: Final = 15
OF_USER: Final = "user:"
USER_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,31}")
RESERVED: Final = ("root", "hacluster")
"""A certificate makes nobody these (`crm.api.access`)."""

KEY_USAGE: Final = "cluster key generate|rotate"
CERT_USAGE: Final = (
    "cluster cert show|renew|request|sign FILE NODE|install FILE|user NAME DIR|revoke WHOSE [--ca DIR]"
)


def key(context: Context, words: Sequence[str]) -> int:
    """`key generate`: a new secret, for a line of authkeys. `key rotate`: another key on every node."""
    if tuple(words) == ("generate",):
        context.print(new_secret())
        return EXIT_OK
    if tuple(words) != ("rotate",):
        raise UsageError(what="only `key generate` and `key rotate` are known", usage=KEY_USAGE)
    members = Members(context.paths, this_node(context))
    while True:
        what, after = next_step(members.files.authkeys.decode(), new_secret)
        context.info(what)
        dc = context.client.dc() or members.me
        done = asyncio.run(members.change(_with_authkeys(after), first=dc))
        if done.away:
            context.warning(f"{' '.join(done.away)}: away, will hear of it on return")
        if is_finished(after):
            context.print(f"every node signs with {what.split()[1]} {signing(after)}")
            return EXIT_OK


def _with_authkeys(text: str) -> Callable[[Settings, SharedFiles], SharedFiles]:
    def changed(settings: Settings, files: SharedFiles) -> SharedFiles:
        return replace(files, cluster_toml=rendered(settings), authkeys=text.encode())

    return changed


def _parsed(text: str) -> tuple[int, dict[int, str]]:
    """The signing key's number, and number -> the rest of its line. ha-messaging has accepted the file."""
    signs, keys = 0, {}
    for line in text.splitlines():
        words = line.split(maxsplit=1)
        if len(words) == 2 and not line.lstrip().startswith("#"):
            if words[0] == "auth":
                signs = int(words[1])
            elif words[0].isdecimal():
                keys[int(words[0])] = words[1].strip()
    return signs, keys


def _text(signs: int, keys: dict[int, str]) -> str:
    return f"auth {signs}\n" + "".join(f"{number} {rest}\n" for number, rest in sorted(keys.items()))


def signing(text: str) -> int:
    """The number of the key that signs."""
    return _parsed(text)[0]


def is_finished(text: str) -> bool:
    """Whether there is one key only."""
    return len(_parsed(text)[1]) == 1


def next_step(text: str, secret: Callable[[], str]) -> tuple[str, str]:
    """(what is done, authkeys afterwards): key N+1 is added, then signs, then key N goes.

    What the file holds says how far it is; so an interrupted rotation goes on. Raises InvalidRequest.
    """
    signs, keys = _parsed(text)
    if len(keys) > 2 or signs not in keys:
        raise InvalidRequest(
            what=f"authkeys has {len(keys)} keys, and `auth {signs}`",
            remedy="leave the one that signs, and at most one other, on every node",
        )
    successor = signs % KEY_ID_MAX + 1
    method = keys[signs].split()[0]
    method = method if method in ("sha256", "aes256gcm") else "sha256"
    if len(keys) == 1:
        return f"key {successor} is made known", _text(signs, {**keys, successor: f"{method} {secret()}"})
    if successor in keys:
        return f"key {successor} signs", _text(successor, keys)
    return f"key {signs} stays alone", _text(signs, {signs: keys[signs]})


# Certificates.


def cert(context: Context, words: Sequence[str]) -> int:
    """`cert show|renew|request|sign|install|user|revoke`."""
    values, rest = take_options(words, ("--ca",), CERT_USAGE)
    folder = AuthorityFolder(context.paths, values.get("--ca", [""])[-1])
    match rest:
        case ["show"]:
            return _show(context, folder)
        case ["renew"]:
            return _renew(context, folder)
        case ["request"]:
            return _request(context)
        case ["sign", file, node]:
            return _sign(context, folder, Path(file), node)
        case ["install", file]:
            return _install(context, Path(file).read_bytes())
        case ["user", name, into]:
            return _user(context, folder, name, Path(into))
        case ["revoke", whose]:
            return _revoke(context, folder, whose)
        case _:
            raise UsageError(what="what about certificates?", usage=CERT_USAGE)


def _show(context: Context, folder: AuthorityFolder) -> int:
    tls = rpc.read_tls(context.paths.tls)
    files = {path.name: path.read_bytes() for path in sorted((folder.folder / "issued").glob("*.pem"))}
    certificates = {"ca.pem": tls.ca, "node.pem": tls.certificate, **files}
    now = datetime.datetime.now(datetime.UTC)
    for name, data in certificates.items():
        one = x509.load_pem_x509_certificate(data)
        days = (one.not_valid_after_utc - now).days
        state = "REVOKED" if one.serial_number in tls.revoked else f"{days} days left"
        context.print(
            f"{name}: {one.subject.rfc4514_string()}, serial {one.serial_number:x}, "
            f"until {one.not_valid_after_utc:%Y-%m-%d}, {state}"
        )
    return EXIT_OK


def _renew(context: Context, folder: AuthorityFolder) -> int:
    """A new key and certificate for this node; the daemons take them within two seconds."""
    authority, members = folder.load(), Members(context.paths, this_node(context))
    node = members.settings.node(members.me)
    assert node is not None
    asked = make_request(node.name)
    certificate = sign_request(authority, asked.certificate, node.name, node.addresses)
    folder.keep(node.name, certificate)
    _make_known(context, members, certificate)
    _take(context, asked.key, certificate)
    return EXIT_OK


def _request(context: Context) -> int:
    """A new key in node.key.new; the request is for who has the CA's key."""
    asked = make_request(this_node(context))
    owner = shared_files.daemons_owner(context.paths)
    shared_files.replace(context.paths.tls / "node.key.new", asked.key, 0o600, owner)
    context.print(asked.certificate.decode().rstrip())
    return EXIT_OK


def _sign(context: Context, folder: AuthorityFolder, request: Path, name: str) -> int:
    members = Members(context.paths, this_node(context))
    node = members.settings.node(name)
    if node is None:
        raise InvalidRequest(what=f"there is no node {name} in {context.paths.cluster_toml}")
    certificate = sign_request(folder.load(), request.read_bytes(), node.name, node.addresses)
    folder.keep(node.name, certificate)
    _make_known(context, members, certificate)
    context.print(certificate.decode().rstrip())
    return EXIT_OK


def _user(context: Context, folder: AuthorityFolder, name: str, into: Path) -> int:
    """A folder for a user's own machine: `hacli --server` finds certificate and key there."""
    if not USER_NAME.fullmatch(name) or name in RESERVED:
        raise InvalidRequest(
            what=f"{name!r} can be no user of a certificate",
            remedy=f"letters, digits, . _ - (at most 32), and not {' or '.join(RESERVED)}",
        )
    authority = folder.load()
    pair = make_user(authority, name)
    folder.keep(OF_USER + name, pair.certificate)
    try:
        into.mkdir(mode=0o700)
    except OSError as error:
        raise InvalidRequest(what=f"{into}: {error.strerror}", remedy="name a new folder") from None
    for file, data, mode in (
        ("ca.pem", authority.certificate, 0o644),
        ("user.pem", pair.certificate, 0o644),
        ("user.key", pair.key, 0o600),
    ):
        shared_files.replace(into / file, data, mode)
    context.print(f"{into}: for {name}'s machine, as ~/.config/hacluster/tls; user.key is a secret")
    settings = Members(context.paths, this_node(context)).settings
    if not settings.ports.api:
        context.warning(
            "nothing listens for users: [ports] api = 5564 in cluster.toml of each node, "
            "then `hacli cluster restart --all` (node by node, resources move)"
        )
    return EXIT_OK


def _make_known(context: Context, members: Members, certificate: bytes) -> None:
    """Before it is used: while anything is revoked, channels trust what nodes.pem names."""

    def changed(settings: Settings, files: SharedFiles) -> SharedFiles:
        return replace(files, cluster_toml=rendered(settings), nodes_pem=files.nodes_pem + certificate)

    dc = context.client.dc() or members.me
    done = asyncio.run(members.change(changed, first=dc))
    if done.away:
        context.warning(f"{' '.join(done.away)}: away, will hear of it on return")


def _install(context: Context, certificate: bytes) -> int:
    made = context.paths.tls / "node.key.new"
    if not made.exists():
        raise InvalidRequest(what=f"{made} does not exist", remedy="hacli cluster cert request")
    _take(context, made.read_bytes(), certificate)
    made.unlink()
    return EXIT_OK


def _take(context: Context, key: bytes, certificate: bytes) -> None:
    """Both, or what was there. Raises InvalidRequest when they do not fit."""
    tls = context.paths.tls
    try:
        ours = is_of_node(
            x509.load_pem_x509_certificate(certificate), (tls / "ca.pem").read_bytes(), this_node(context)
        )
    except ValueError:
        ours = False
    if not ours:
        raise InvalidRequest(what=f"that is no certificate of this cluster's CA for {this_node(context)}")
    former = {name: (tls / name).read_bytes() for name in ("node.key", "node.pem")}
    try:
        shared_files.replace(tls / "node.key", key, 0o600)
        shared_files.replace(tls / "node.pem", certificate, 0o644)
        rpc.read_tls(tls)
    except (HaError, OSError):
        shared_files.replace(tls / "node.key", former["node.key"], 0o600)
        shared_files.replace(tls / "node.pem", former["node.pem"], 0o644)
        raise
    serial = x509.load_pem_x509_certificate(former["node.pem"]).serial_number
    context.print(f"{this_node(context)} has another certificate; the daemons take it within two seconds")
    context.info(f"if the former key may be known to others: hacli cluster cert revoke {serial:x}")


def _revoke(context: Context, folder: AuthorityFolder, whose: str) -> int:
    """A serial number in hexadecimal, a user, or a node: all but the certificate it presents now."""
    authority, members = folder.load(), Members(context.paths, this_node(context))
    if whose.startswith(OF_USER):
        serials = list(folder.serials(whose))
    elif members.settings.node(whose) is not None:
        own = x509.load_pem_x509_certificate((context.paths.tls / "node.pem").read_bytes()).serial_number
        serials = [one for one in folder.serials(whose) if whose != members.me or one != own]
    else:
        try:
            serials = [int(whose, 16)]
        except ValueError:
            raise InvalidRequest(what=f"{whose} is no node, user:NAME or serial number") from None
    if not serials:
        raise InvalidRequest(what=f"no certificate of {whose} is known in {folder.folder / 'issued'}")

    def changed(settings: Settings, files: SharedFiles) -> SharedFiles:
        return replace(files, cluster_toml=rendered(settings), crl=make_crl(authority, files.crl, serials))

    dc = context.client.dc() or members.me
    done = asyncio.run(members.change(changed, first=dc))
    context.print(f"revoked on {' '.join(done.done)}: {' '.join(f'{one:x}' for one in serials)}")
    if done.away:
        context.warning(f"{' '.join(done.away)}: away, will hear of it on return")
    return EXIT_OK
