"""The steps of `hacli cluster key rotate`, as the file says how far it is; the CA's list."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from cli.authority import AuthorityFolder
from cli.certificates import make_authority, make_crl, make_node
from cli.commands.cluster_keys import is_finished, next_step, signing
from cli.members import with_votes
from hacluster import certificates, settings
from hacluster.errors import InvalidDocument, InvalidRequest
from hacluster.paths import Paths
from hacluster.v1 import crm_pb2
from messaging import keys
from messaging.packet import Keyring


def ring(text: str) -> Keyring:
    return keys.parse(text, source="authkeys", cluster_id=bytes(16))[0]


@pytest.mark.parametrize("number", [1, 7, 15])
@pytest.mark.parametrize("method", ["sha256", "aes256gcm"])
def test_three_steps_and_each_has_a_key_in_common_with_the_one_before(number: int, method: str) -> None:
    fresh = (f"{'n' * 30}{n}" for n in itertools.count())
    text = f"# ours\nauth {number}\n{number} {method} {'o' * 32}\n"
    rings = [ring(text)]
    for _ in range(3):
        _, text = next_step(text, lambda: next(fresh))
        rings.append(ring(text))
    assert is_finished(text)
    assert signing(text) == number % 15 + 1
    assert "o" * 32 not in text
    for before, after in itertools.pairwise(rings):
        assert before.signing in after.keys
        assert after.signing in before.keys
        assert before.keys[before.signing] == after.keys[before.signing]
    assert rings[-1].keys[rings[-1].signing].method == method


def test_an_interrupted_rotation_goes_on() -> None:
    text = f"auth 1\n1 sha256 {'a' * 32}\n"
    _, known = next_step(text, lambda: "b" * 32)
    assert next_step(known, lambda: "c" * 32)[1].startswith("auth 2\n")
    assert "c" * 32 not in next_step(known, lambda: "c" * 32)[1]


def test_what_is_not_understood_is_left() -> None:
    text = "auth 1\n" + "".join(f"{n} sha256 {'s' * 32}\n" for n in (1, 2, 3))
    with pytest.raises(InvalidRequest, match="3 keys"):
        next_step(text, lambda: "x")


def test_an_old_method_becomes_ours() -> None:
    assert "2 sha256 " in next_step(f"auth 1\n1 sha1 {'a' * 32}\n", lambda: "b" * 32)[1]


def test_the_list_grows() -> None:
    authority = make_authority("web")
    first = make_crl(authority, b"", [5])
    second = make_crl(authority, first, [5, 9])
    assert certificates.revoked_serials(second, authority.certificate, source="crl") == {5, 9}
    with pytest.raises(InvalidDocument, match="not signed by the CA"):
        certificates.revoked_serials(second, make_authority("other").certificate, source="crl")


def test_the_folder_of_the_ca(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.tls.mkdir(parents=True)
    folder = AuthorityFolder(paths)
    with pytest.raises(InvalidRequest, match="--ca DIR"):
        folder.load()
    authority = make_authority("web")
    (paths.tls / "ca.pem").write_bytes(authority.certificate)
    folder.folder.mkdir()
    (folder.folder / "ca.pem").write_bytes(authority.certificate)
    (folder.folder / "ca.key").write_bytes(authority.key)
    (folder.folder / "ca.key").chmod(0o640)
    with pytest.raises(InvalidRequest, match="mode 0640"):
        folder.load()
    (folder.folder / "ca.key").chmod(0o600)
    assert folder.load() == authority
    for name in ("n1", "n1.x", "n1"):
        folder.keep(name, make_node(authority, name, ["127.0.0.1"]).certificate)
    assert len(folder.serials("n1")) == 2
    assert len(folder.serials("n1.x")) == 1
    (paths.tls / "ca.pem").write_bytes(make_authority("other").certificate)
    with pytest.raises(InvalidRequest, match="not the CA of this cluster"):
        folder.load()


def made(count: int, *, two_node: bool) -> settings.Settings:
    nodes = "".join(
        f'[[node]]\nid = {n}\nname = "n{n}"\naddresses = ["127.0.0.{n}"]\n'
        f"votes = {int(n < 3 or not two_node)}\n"
        for n in range(1, count + 1)
    )
    return settings.parse(
        f'[cluster]\nname = "w"\nid = "{"0" * 32}"\n[quorum]\ntwo_node = {str(two_node).lower()}\n'
        f'[[link]]\nkind = "udp"\n{nodes}'
    )


def test_votes_follow_the_log() -> None:
    grown = with_votes(made(3, two_node=True), {1: 1, 2: 1, 3: 1}, two_node=False, wait_for_all=False)
    assert [node.votes for node in grown.nodes] == [1, 1, 1]
    assert (grown.quorum.two_node, grown.quorum.wait_for_all) == (False, False)
    shrunk = with_votes(made(3, two_node=False), {1: 1, 2: 1}, two_node=True, wait_for_all=True)
    assert (shrunk.quorum.two_node, shrunk.quorum.wait_for_all) == (True, True)
    assert [node.votes for node in shrunk.nodes] == [1, 1, 0]


def test_what_the_dc_does_not_say_of_wait_for_all_is_no_no() -> None:
    """A DC of a release before that field: three become two, and those who chose to wait go on to wait."""
    assert not crm_pb2.VotersReply().HasField("wait_for_all")
    assert crm_pb2.VotersReply(wait_for_all=False).HasField("wait_for_all")
    three, two = made(3, two_node=False), {1: 1, 2: 1}
    assert with_votes(three, two, two_node=True, wait_for_all=None).quorum.wait_for_all
    assert not with_votes(three, two, two_node=True, wait_for_all=False).quorum.wait_for_all
    waits = replace(three, quorum=replace(three.quorum, wait_for_all=True))
    shrunk = with_votes(waits, two, two_node=True, wait_for_all=None)
    everybody = {1: 1, 2: 1, 3: 1}
    assert with_votes(shrunk, everybody, two_node=False, wait_for_all=True).quorum.wait_for_all
    chosen = replace(three, quorum=replace(three.quorum, two_node=True, wait_for_all=False))
    grown = with_votes(chosen, everybody, two_node=False, wait_for_all=None)
    assert not grown.quorum.wait_for_all
