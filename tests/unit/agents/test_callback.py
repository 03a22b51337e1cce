from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.callback import client
from agents.callback.arguments import FLAG, OPTIONAL, VALUE, parse
from agents.callback.client import Refused

OPTIONS = {
    "-n": ("name", VALUE),
    "--name": ("name", VALUE),
    "-q": ("quiet", FLAG),
    "--quiet": ("quiet", FLAG),
    "--query": ("query", FLAG),
    "-G": ("query", FLAG),
    "-p": ("promotion", OPTIONAL),
    "--promotion": ("promotion", OPTIONAL),
}


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        ("", {}),
        ("-n x", {"name": "x"}),
        ("-nx", {"name": "x"}),
        ("--name=x", {"name": "x"}),
        ("--name x", {"name": "x"}),
        ("--na x", {"name": "x"}),
        ("--name -1", {"name": "-1"}),
        ("-Gq", {"query": "1", "quiet": "1"}),
        ("-Gnx", {"query": "1", "name": "x"}),
        ("-p", {"promotion": ""}),
        ("-p db -q", {"promotion": "db", "quiet": "1"}),
        ("-p -q", {"promotion": "", "quiet": "1"}),
        ("--promotion=db", {"promotion": "db"}),
    ],
)
def test_arguments(argv: str, found: dict[str, str]) -> None:
    assert parse(argv.split(), OPTIONS) == found


@pytest.mark.parametrize("argv", ["x", "-x", "--unknown", "--q", "-n", "--name", "--quiet=1"])
def test_arguments_that_are_wrong(argv: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(argv.split(), OPTIONS)
    assert refused.value.exit_code == client.EXIT_USAGE


def serve(path: Path, conversations: list[Callable[[socket.socket], None]]) -> threading.Thread:
    """Answers one connection after the other with the given functions."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(10)

    def run() -> None:
        with listener:
            for conversation in conversations:
                connection, _ = listener.accept()
                with connection:
                    conversation(connection)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def hang_up(connection: socket.socket) -> None:
    connection.recv(65536)


def answer_with(**answer: object) -> Callable[[socket.socket], None]:
    def answer_it(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(json.dumps(answer).encode() + b"\n")

    return answer_it


def test_an_answer_cut_off_is_asked_for_again(tmp_path: Path) -> None:
    thread = serve(tmp_path / "s", [hang_up, answer_with(ok=True, value="5")])
    environ = {client.SOCKET_VARIABLE: str(tmp_path / "s")}
    assert client.ask({"command": "query"}, environ)["value"] == "5"
    thread.join()


def test_an_arithmetic_update_is_not_repeated(tmp_path: Path) -> None:
    thread = serve(tmp_path / "s", [hang_up])
    environ = {client.SOCKET_VARIABLE: str(tmp_path / "s")}
    with pytest.raises(Refused) as refused:
        client.ask({"command": "update", "value": "x++"}, environ)
    assert refused.value.exit_code == client.EXIT_DISCONNECT
    thread.join()


def test_nobody_there(tmp_path: Path) -> None:
    environ = {client.SOCKET_VARIABLE: str(tmp_path / "s")}
    with pytest.raises(Refused, match="does not answer") as refused:
        client.ask({"command": "query"}, environ, retry_s=0)
    assert refused.value.exit_code == 102


def test_refusals_are_passed_on(tmp_path: Path) -> None:
    thread = serve(tmp_path / "s", [answer_with(ok=False, exit=105, error="no such thing")])
    environ = {client.SOCKET_VARIABLE: str(tmp_path / "s")}
    with pytest.raises(Refused, match="no such thing") as refused:
        client.ask({"command": "delete"}, environ)
    assert refused.value.exit_code == 105
    thread.join()


def test_promotion_score(tmp_path: Path) -> None:
    seen: list[dict[str, object]] = []

    def remember(connection: socket.socket) -> None:
        seen.append(json.loads(connection.recv(65536)))
        connection.sendall(b'{"ok": true}\n')

    path = tmp_path / "s"
    gone = answer_with(ok=False, exit=105, error="not set")
    refused = answer_with(ok=False, exit=4, error="no permission")
    thread = serve(path, [remember, gone, refused])
    environ = {client.SOCKET_VARIABLE: str(path)}
    assert client.set_promotion_score(environ, "db", 10) == ""
    assert client.set_promotion_score(environ, "db", None) == ""
    assert client.set_promotion_score(environ, "db", 10) == "no permission"
    thread.join()
    expected = {"command": "update", "section": "status", "name": "master-db", "value": "10", "node": ""}
    assert expected.items() <= seen[0].items()
