"""authkeys: heartbeat's syntax, and no file that others could have read or put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hacluster.errors import InvalidDocuments
from messaging import keys
from messaging.packet import Keyring

CLUSTER = bytes(16)
GOOD = "auth 1\n1 sha256 0123456789abcdef\n"


def parsed(text: str, *, insecure: bool = False) -> tuple[Keyring, tuple[str, ...]]:
    return keys.parse(text, source="authkeys", cluster_id=CLUSTER, insecure=insecure)


def errors(text: str) -> list[tuple[int, str]]:
    with pytest.raises(InvalidDocuments) as caught:
        parsed(text)
    return [(error.line, error.what) for error in caught.value.errors]


def a_file(folder: Path, text: str = GOOD, mode: int = 0o600) -> Path:
    path = folder / "authkeys"
    path.write_text(text)
    path.chmod(mode)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InvalidDocuments) as caught:
        keys.load(path, cluster_id=CLUSTER)
    return str(caught.value)


def test_heartbeats_syntax() -> None:
    keyring, warnings = parsed(
        "# keys\n\nauth 2\n1 sha1 old-secret-of-heartbeat\n2 aes256gcm 0123456789abcdef\n"
    )
    assert keyring.signing == 2
    assert {number: key.method for number, key in keyring.keys.items()} == {1: "sha256", 2: "aes256gcm"}
    assert warnings == ()


def test_working_keys_differ_by_cluster_method_and_number() -> None:
    texts = (GOOD, "auth 2\n2 sha256 0123456789abcdef\n", "auth 1\n1 aes256gcm 0123456789abcdef\n")
    derived = {next(iter(parsed(text)[0].keys.values())).key for text in texts}
    other = keys.parse(GOOD, source="", cluster_id=b"x" * 16)[0].keys[1].key
    assert len(derived | {other}) == 4
    assert "0123456789abcdef" not in repr(parsed(GOOD)[0])


def test_weak_secrets_are_warned_about() -> None:
    _, warnings = parsed("auth 1\n1 md5 short\n")
    assert warnings == ("authkeys:2: the secret of key 1 has 5 bytes: 16 are safe",)


def test_crc_is_no_key() -> None:
    assert errors("auth 1\n1 crc\n") == [(2, "crc has no key: anybody could join")]
    keyring, warnings = parsed("auth 1\n1 crc\n", insecure=True)
    assert keyring.keys[1].method == "sha256"
    assert len(warnings) == 1


def test_every_mistake_is_named_with_its_line() -> None:
    assert errors("") == [(0, "no `auth N` line says which key signs")]
    assert errors("auth 3\n1 sha256 0123456789abcdef\n") == [(1, "`auth 3` names no key of this file")]
    assert errors("auth x\n16 sha256 s\n1 rot13 s\n2 sha256\nauth 1\n2\n") == [
        (1, "`auth` names one key"),
        (2, "the line does not begin with a key number"),
        (3, "the method of key 1 is not known"),
        (4, "a key has one secret, without blanks"),
        (6, "a key needs a method"),
    ]
    assert errors(GOOD + "1 sha256 another\nauth 1\n") == [
        (3, "key 1 is there twice"),
        (4, "a second `auth` line"),
    ]


@pytest.mark.parametrize(
    "text",
    ["CANARY", "auth CANARY", "1 CANARY", "1 CANARY sha256", "sha256 CANARY", "1 sha256 CANARY CANARY",
     "auth 1\nauth CANARY", "1 sha256 CANARY", "1 crc CANARY", "auth 1\n1 sha256 CANARY", "\0CANARY"],
)  # fmt: skip
def test_no_message_repeats_a_secret(text: str) -> None:
    try:
        keyring, warnings = parsed(text)
        told = f"{keyring!r} {warnings}"
    except InvalidDocuments as failure:
        told = str(failure)
    assert told
    assert "canary" not in told.lower()


def test_a_good_file_is_loaded(tmp_path: Path) -> None:
    keyring, _ = keys.load(a_file(tmp_path), cluster_id=CLUSTER)
    assert keyring == parsed(GOOD)[0]


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    assert "there is no key" in refusal(tmp_path / "authkeys")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_others_may_do_nothing_with_it(tmp_path: Path, mode: int) -> None:
    assert f"chmod 600 {tmp_path}/authkeys" in refusal(a_file(tmp_path, mode=mode))


def test_no_links_pipes_folders_or_huge_files(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(a_file(tmp_path))
    assert "symbolic link" in refusal(link)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert "not a regular file" in refusal(pipe)
    assert "not a regular file" in refusal(tmp_path)
    huge = a_file(tmp_path, GOOD + "#" * keys.FILE_BYTES_MAX)
    assert "too many" in refusal(huge)
    assert "not a text" in refusal_of_bytes(tmp_path)


def refusal_of_bytes(folder: Path) -> str:
    path = a_file(folder)
    path.write_bytes(b"\xff\xfe")
    return refusal(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_it_belongs_to_root_or_to_us(tmp_path: Path) -> None:
    path = a_file(tmp_path)
    os.chown(path, 12_345, -1)
    assert "neither root nor us" in refusal(path)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722, 0o1777])
def test_nobody_else_may_replace_it(tmp_path: Path, mode: int) -> None:
    path = a_file(tmp_path)
    tmp_path.chmod(mode)
    text = refusal(path)
    tmp_path.chmod(0o700)
    assert f"mode {mode:04o}" in text
    assert f"chmod go-w {tmp_path}" in text


def test_nor_may_the_folder_be_somebodys(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    path = a_file(tmp_path)
    os.chown(tmp_path, 65_534, -1)
    assert "the folder belongs to uid 65534" in refusal(path)


@pytest.mark.parametrize("line", ["1 sha256", "1 sha256 ", "1"])
def test_a_key_without_a_secret_is_none(line: str) -> None:
    assert errors(f"auth 1\n{line}\n")[0][0] == 2
