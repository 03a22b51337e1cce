from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from hacluster import settings
from hacluster.errors import InvalidDocument
from hacluster.rpc import read_tls
from messaging import keys
from tests.unit.cli.runner import hacli

EXAMPLE = Path(__file__).parents[3] / "deploy" / "examples" / "heartbeat-v1"
ADDRESSES = ("--node", "node1.nyist.com=172.16.20.31", "--node", "node2.nyist.com=172.16.20.32")


def init(output: Path, *more: str) -> tuple[int, str]:
    nodes = ("--node", "a=10.0.0.1,10.1.0.1", "--node", "b=10.0.0.2,10.1.0.2")
    return hacli(["cluster", "init", "--name", "web", *nodes, "--output", str(output), *more])


def test_init_makes_what_the_daemons_load(tmp_path: Path) -> None:
    status, text = init(tmp_path / "out")
    assert status == 0, text
    etc = tmp_path / "out" / "a" / "etc" / "hacluster"
    made = settings.load(etc / "cluster.toml")
    assert [node.name for node in made.nodes] == ["a", "b"]
    assert len(made.links) == 2
    assert made.quorum.two_node
    keyring, warnings = keys.load(etc / "authkeys", cluster_id=made.cluster_id)
    assert keyring is not None
    assert warnings == ()
    tls = read_tls(etc / "tls")
    certificate = x509.load_pem_x509_certificate(tls.certificate)
    authority = x509.load_pem_x509_certificate(tls.ca)
    certificate.verify_directly_issued_by(authority)
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "10.1.0.1"]


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ("ca.pem", "holds no certificate"),
        ("node.pem", "holds no certificate"),
        ("node.key", "not the key of node.pem"),
    ],
)
def test_a_damaged_file_is_named_before_anything_listens(tmp_path: Path, broken: str, what: str) -> None:
    init(tmp_path / "out")
    tls = tmp_path / "out" / "a" / "etc" / "hacluster" / "tls"
    (tls / broken).write_text("no PEM\n")
    with pytest.raises(InvalidDocument, match=what) as caught:
        read_tls(tls)
    assert caught.value.source == str(tls / broken)


def test_the_key_of_another_node_is_refused(tmp_path: Path) -> None:
    init(tmp_path / "out")
    one, other = (tmp_path / "out" / name / "etc" / "hacluster" / "tls" for name in ("a", "b"))
    shutil.copy(other / "node.key", one / "node.key")
    with pytest.raises(InvalidDocument, match=r"not the key of node\.pem"):
        read_tls(one)


def test_nodes_share_settings_and_key_but_not_certificates(tmp_path: Path) -> None:
    init(tmp_path / "out")
    one, other = (tmp_path / "out" / name / "etc" / "hacluster" for name in ("a", "b"))
    for name in ("cluster.toml", "authkeys", "tls/ca.pem"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert (one / "tls/node.key").read_bytes() != (other / "tls/node.key").read_bytes()
    for secret in ("authkeys", "tls/node.key"):
        assert stat.S_IMODE((one / secret).stat().st_mode) == 0o600
    assert not (one / "tls/ca.key").exists()


def test_folders_can_be_entered_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        init(tmp_path / "out")
    finally:
        os.umask(before)
    for folder in ("a", "a/etc", "a/etc/hacluster", "a/etc/hacluster/tls"):
        assert stat.S_IMODE((tmp_path / "out" / folder).stat().st_mode) == 0o755, folder
    assert stat.S_IMODE((tmp_path / "out/a/etc/hacluster/cluster.toml").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "out/ca/ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    init(tmp_path / "out")
    before = (tmp_path / "out/a/etc/hacluster/authkeys").read_text()
    status, text = init(tmp_path / "out")
    assert status == 1
    assert "exists" in text
    assert (tmp_path / "out/a/etc/hacluster/authkeys").read_text() == before


def test_wrong_use(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    for words in (
        ["--name", "x", "--output", out],
        ["--name", "x", "--node", "a=host", "--output", out],
        ["--name", "x", "--node", "a=10.0.0.1", "--node", "b=10.0.0.1", "--output", out],
        ["--name", "x", "--node", "a=10.0.0.1", "--node", "b=10.0.0.2,10.0.0.3", "--output", out],
        ["--name", "x", "--node", "a=10.0.0.1", "--outptu", out],
    ):
        assert hacli(["cluster", "init", *words])[0] == 2, words
    assert not (tmp_path / "out").exists()


def test_times_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    status, text = init(tmp_path / "out", "--keepalive", "2s", "--deadtime", "3s")
    assert status == 1
    assert "deadtime" in text
    assert not (tmp_path / "out").exists()


def test_a_generated_key_is_32_bytes_of_base64() -> None:
    status, text = hacli(["cluster", "key", "generate"])
    assert status == 0
    assert len(text.strip()) == 44
    assert text != hacli(["cluster", "key", "generate"])[1]


def test_the_tutorial_is_taken_as_it_stands(tmp_path: Path) -> None:
    status, text = hacli(["import", "heartbeat", str(EXAMPLE), "--output", str(tmp_path / "out"), *ADDRESSES])
    assert status == 0, text
    assert "crc is no key" in text
    assert "ocf:hacluster:IPaddr" in text
    etc = tmp_path / "out/node2.nyist.com/etc/hacluster"
    made = settings.load(etc / "cluster.toml")
    assert made.timers.deadtime_ms == 6_000
    assert (etc / "authkeys").read_text().split()[:3] == ["auth", "1", "1"]
    keys.load(etc / "authkeys", cluster_id=made.cluster_id)
    cib = tmp_path / "cib.xml"
    shutil.copy(etc / "initial-cib.xml", cib)
    status, text = hacli(["--cib-file", str(cib), "configure", "verify"])
    assert (status, text) == (0, "")


def test_a_wrong_line_stops_the_import(tmp_path: Path) -> None:
    folder = tmp_path / "ha.d"
    shutil.copytree(EXAMPLE, folder)
    with open(folder / "haresources", "a") as file:
        file.write("node9 10.0.0.1\n")
    status, text = hacli(["import", "heartbeat", str(folder), "--output", str(tmp_path / "out"), *ADDRESSES])
    assert status == 1
    assert f"{folder}/haresources:2: 'node9' is no node of ha.cf" in text
    assert not (tmp_path / "out").exists()


def test_addresses_from_a_hosts_file(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.1.1 node1.nyist.com\n10.0.0.1 node1.nyist.com node1\n10.0.0.2 NODE2.nyist.com\n")
    out = tmp_path / "out"
    status, text = hacli(["import", "heartbeat", str(EXAMPLE), "--hosts", str(hosts), "--output", str(out)])
    assert status == 0, text
    made = settings.load(out / "node1.nyist.com/etc/hacluster/cluster.toml")
    assert [node.addresses for node in made.nodes] == [("10.0.0.1",), ("10.0.0.2",)]


def test_an_old_key_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "ha.d"
    shutil.copytree(EXAMPLE, folder)
    (folder / "authkeys").write_text("auth 2\n1 crc\n2 sha1 HI!\n")
    out = tmp_path / "out"
    status, text = hacli(["import", "heartbeat", str(folder), "--output", str(out), *ADDRESSES])
    assert status == 0, text
    assert "is short" in text
    authkeys = (out / "node1.nyist.com/etc/hacluster/authkeys").read_text()
    assert authkeys == "auth 2\n2 sha1 HI!\n"


def test_an_imported_key_that_others_could_read_is_said(tmp_path: Path) -> None:
    for mode, said in ((0o644, True), (0o600, False)):
        folder = tmp_path / f"ha.d-{mode:o}"
        shutil.copytree(EXAMPLE, folder)
        (folder / "authkeys").write_text("auth 1\n1 sha1 correct-horse-battery-staple-0123456789\n")
        (folder / "authkeys").chmod(mode)
        out = tmp_path / f"out-{mode:o}"
        status, text = hacli(["import", "heartbeat", str(folder), "--output", str(out), *ADDRESSES])
        assert status == 0, text
        assert ("others could read this key" in text) is said


def test_corosync_and_its_cib_become_our_files(tmp_path: Path) -> None:
    conf, cib = tmp_path / "corosync.conf", tmp_path / "cib.xml"
    node = "node {{\n ring0_addr: 10.0.0.{0}\n name: n{0}\n nodeid: {0}\n}}\n"
    conf.write_text(
        "totem {\nversion: 2\n}\nnodelist {\n" + node.format(1) + node.format(2) + "}\n"
        "quorum {\nprovider: corosync_votequorum\ntwo_node: 1\n}\n"
    )
    cib.write_text('<cib><configuration><nodes><node id="1" uname="n9"/></nodes></configuration></cib>')
    words = ["import", "corosync", str(conf), "--cib", str(cib), "--output", str(tmp_path / "out")]
    status, text = hacli(words)
    assert (status, "node n9 is none of corosync.conf's" in text) == (1, True), text
    assert not (tmp_path / "out").exists()
    cib.write_text(cib.read_text().replace("n9", "n2"))
    status, text = hacli([*words, "--keep-corosync"])
    assert status == 0, text
    made = settings.load(tmp_path / "out" / "n1" / "etc" / "hacluster" / "cluster.toml")
    assert (made.backend, made.quorum.two_node, len(made.nodes)) == ("corosync", True, 2)
    assert 'uname="n2"' in (tmp_path / "out" / "n2" / "etc" / "hacluster" / "initial-cib.xml").read_text()
    conf.write_text(conf.read_text().replace("nodeid: 2", "nodeid: two"))
    status, text = hacli([*words[:3]])
    assert (status, f"{conf}:13: nodeid is 'two'" in text) == (1, True), text
