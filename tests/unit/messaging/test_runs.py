"""One run of ha-messaging after the other in one process: what is left of the former one."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from hacluster import settings as ha_settings
from hacluster.boot import boot_token
from hacluster.paths import Paths
from hacluster.supervision import DaemonOptions
from messaging import keys
from messaging.__main__ import Daemon, versions_of
from messaging.membership.events import DaemonsChanged, Durable, Leave, LeaveRequested, Persist
from messaging.membership.shell import MembershipShell
from messaging.store import Store
from tests.cluster_toml import cluster_toml

TOML = cluster_toml(
    ["127.0.97.1", "127.0.97.2"],
    name="loop",
    port=5694,
    timers={"keepalive": "20ms", "deadtime": "1s", "initdead": "2s"},
)


class Observed(Daemon):
    """Without gRPC: a run is announced when it answers, and its shell is kept."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.shells: list[MembershipShell] = []
        self.answers = asyncio.Event()

    def _shell(self, *args: Any) -> MembershipShell:
        self.shells.append(super()._shell(*args))
        return self.shells[-1]

    async def _answer(self, *args: Any) -> None:
        self.answers.set()
        await args[-1].wait()

    async def next_run(self, stop: asyncio.Event) -> None:
        """This one says that the node leaves, and another ha-crm comes."""
        self.answers.clear()
        self.shells[-1].dispatch(LeaveRequested(Leave(clean=True)))
        self.shells[-1].dispatch(DaemonsChanged(crm_instance=8, lrm_instance=0))
        await asyncio.wait_for(self.answers.wait(), 20)
        assert not stop.is_set()


@pytest.fixture
def daemon(tmp_path: Path) -> Observed:
    paths = Paths(tmp_path)
    paths.etc.mkdir(parents=True)
    paths.cluster_toml.write_text(TOML)
    paths.authkeys.write_text("auth 1\n1 sha256 0123456789abcdef0123456789abcdef\n")
    paths.authkeys.chmod(0o600)
    settings = ha_settings.load(paths.cluster_toml)
    keyring, _ = keys.load(paths.authkeys, cluster_id=settings.cluster_id, insecure=False)
    options = DaemonOptions(paths=paths, node="n1", log_format=None, log_level="error")
    return Observed(options, settings, keyring, boot_token(paths), versions_of(paths))


async def test_a_run_that_is_over_does_nothing_more(daemon: Observed) -> None:
    """No timer of it, and no word to ha-sentinel: that would be beside the next run's."""
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    await asyncio.wait_for(daemon.answers.wait(), 20)
    await daemon.next_run(stop)
    former, present = daemon.shells
    assert [key for key, (_, handle) in former._timers.items() if not handle.cancelled()] == []
    word = daemon._options.paths.run / "sentinel/lease"
    before = word.read_bytes()
    former.republish()
    former.dispatch(DaemonsChanged(crm_instance=0, lrm_instance=0))  # its last Watch ends late
    assert word.read_bytes() == before
    assert [key for key, (_, handle) in former._timers.items() if not handle.cancelled()] == []
    assert present._timers
    stop.set()
    await asyncio.wait_for(running, 20)
    assert [key for key, (_, handle) in present._timers.items() if not handle.cancelled()] == []


async def test_keys_that_came_before_it_could_be_told_of_them(daemon: Observed) -> None:
    """Between its reading of them and its serving nobody reaches it, and nobody tells it again."""
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    await asyncio.wait_for(daemon.answers.wait(), 20)
    (shell,) = daemon.shells
    authkeys = daemon._options.paths.authkeys
    newer = authkeys.with_name("newer")
    newer.write_text(authkeys.read_text().replace("auth 1", "auth 2") + "2 sha256 " + 32 * "f" + "\n")
    newer.chmod(0o600)
    newer.replace(authkeys)
    assert shell.keyring.signing == 1
    daemon._look_again(shell)
    assert shell.keyring.signing == 2
    stop.set()
    await asyncio.wait_for(running, 20)


async def test_the_next_run_reads_the_disk_when_the_last_write_has_ended(
    daemon: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the late write of the former run would take the place of a promise of the next."""
    writes, begun = threading.Event(), threading.Event()
    seen: list[str] = []
    keep, durable = Store.keep, Store.durable

    def kept(self: Store, what: Durable) -> None:
        begun.set()
        assert writes.wait(20)
        keep(self, what)
        seen.append("written")

    def read(self: Store) -> Durable:
        seen.append("read")
        return durable(self)

    monkeypatch.setattr(Store, "durable", read)
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    await asyncio.wait_for(daemon.answers.wait(), 20)
    monkeypatch.setattr(Store, "keep", kept)
    shell = daemon.shells[-1]
    shell._apply([Persist(Durable(promised=77), 10**6)])
    await asyncio.to_thread(begun.wait, 20)
    asyncio.get_running_loop().call_later(0.1, writes.set)
    await daemon.next_run(stop)
    assert seen[:3] == ["read", "written", "read"]
    stop.set()
    await asyncio.wait_for(running, 20)


async def test_a_run_that_is_over_takes_no_memory(daemon: Observed) -> None:
    """What is kept out of collections while it runs is let go of at its end."""
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    await asyncio.wait_for(daemon.answers.wait(), 20)
    former = weakref.ref(daemon.shells[0])
    gc.freeze()
    try:
        await daemon.next_run(stop)
        daemon.shells.pop(0)
        await daemon.next_run(stop)
        assert former() is None
    finally:
        gc.unfreeze()
    stop.set()
    await asyncio.wait_for(running, 20)
