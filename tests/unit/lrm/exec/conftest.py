"""A real lrm-exec, its real socket."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hacluster.paths import Paths
from lrm.exec import launch, processes
from tests.unit.lrm.exec.cleanup import clear_cgroups
from tests.unit.lrm.exec.exec_lab import (
    Client,
    Connect,
    until_gone,
)


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    paths = Paths(tmp_path)
    paths.run.mkdir(parents=True)
    yield paths
    lock = paths.run / "lrm-exec.lock"
    if lock.exists() and lock.read_text().strip():
        pid = int(lock.read_text())
        processes.send_signal(pid, signal.SIGTERM)
        until_gone(pid)
    clear_cgroups(paths)


@pytest.fixture
def connect(paths: Paths) -> Iterator[Connect]:
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(Client(launch.ensure_running(paths, "node1")))
        return clients[-1]

    yield connect
    for client in clients:
        client.connection.close()


@pytest.fixture
def client(connect: Connect) -> Client:
    client = connect()
    client.hello()
    return client
