"""The logs of replicas: what counts as stored, snapshots, merges that are interrupted."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from crm.cib.model import element
from crm.cib.replication.basis import Basis
from crm.cib.replication.log import Log
from crm.cib.replication.messages import Append, InstallSnapshot
from crm.cib.replication.model import Kind, Snapshot, Stored
from crm.cib.storage import FolderStorage
from crm.cib.store import CibStore
from crm.cib.versions import CibVersion
from crm.replica.effects import (
    CallFailed,
    Received,
)
from crm.replica.events import Committed
from hacluster.vocabulary.ids import Term
from tests.unit.crm.replica.net import SECOND, Net


def test_what_is_committed_of_several_is_shown(three: Net) -> None:
    """And what is cut of the rest leaves no trace, whichever is the last that stays."""
    log = three.nodes[2].replication.log
    three.deaf = {1, 3}  # nobody else has what node 2 is told
    before = log.commit_index
    leader = three.nodes[1].replication.log
    entries = [
        leader.append_new(
            term=leader.term_at(leader.last_index),
            basis=Basis.MAJORITY,
            kind=Kind.PATCH,
            version=leader.head.version.configuration_changed(),
            content=leader.head.content.with_children((*leader.head.content.children, element(name))),
        )
        for name in "abc"
    ]
    for entry in entries:
        log.append(entry)
    assert [entry.index for entry in log.commit(before + 2, safe=True)] == [before + 1, before + 2]
    assert three.names(2) == ["crm_config", "a", "b"]
    assert log.committed.digest == entries[1].digest_after
    assert log.cut(before + 2) == (entries[2],)
    assert log.head.content == log.committed.content
    log.append(entries[2])
    assert log.cut(before + 1) == (entries[1], entries[2])
    assert (log.commit_index, log.head.index) == (before + 1, before + 1)
    assert three.names(2) == ["crm_config", "a"]
    for entry in entries[1:]:
        log.append(entry)
    assert [entry.index for entry in log.commit(before + 9, safe=True)] == [before + 2, before + 3]
    assert log.committed.digest == log.head.digest == entries[2].digest_after


def test_entries_of_an_older_term_are_not_committed_by_counting(three: Net) -> None:
    three.held = {1, 2, 3}
    token = three.write(1, "a")
    index = three.nodes[1].replication.log.last_index
    three.nodes[1].replication.waiters.expire(token)
    three.view(1, 2, 3)  # the promise is still said by all: votes are held too, so nobody wins
    assert three.nodes[1].replication.log.commit_index < index
    three.held = set()
    three.view(1, 2, 3)
    leading = three.nodes[1].replication.leading
    assert leading is not None
    assert leading.established
    assert three.nodes[1].replication.log.commit_index > index


def test_who_lags_behind_the_log_gets_a_snapshot() -> None:
    net = Net(3, keep_entries=3)
    net.view(1, 2, 3)
    net.view(1, 2)
    for number in range(12):
        net.write(1, f"e{number}")
    assert net.nodes[1].replication.log.base.index > 3
    net.sent.clear()
    net.view(1, 2, 3)
    net.wait(SECOND)
    assert any(peer == 3 and isinstance(message, InstallSnapshot) for _, peer, message in net.sent)
    assert net.content(3) == net.content(1)
    assert net.nodes[3].replication.log.find_request("r1") == net.nodes[1].replication.log.find_request("r1")


def test_what_another_run_of_a_follower_stored_does_not_count(three: Net) -> None:
    """Its ha-crm begins anew within the view, with an empty disk: nothing that it had is there any more."""
    three.write(1, "one")
    leading = three.nodes[1].replication.leading
    assert leading is not None
    assert leading.followers[2].match == three.nodes[1].replication.log.last_index
    three.restart(2, Stored())
    stale = replace(three.replies[2], last_index=three.nodes[1].replication.log.last_index)
    three.held = {2}
    three.same_view(1, 2, 3)
    assert leading.followers[2].match == 0
    three.give(1, Received(2, stale))
    assert leading.followers[2].match == 0, "an answer of the former run comes late"
    three.held = set()
    unanswered = [message for node, peer, message in three.sent if (node, peer) == (1, 2)][-1]
    assert isinstance(unanswered, Append)
    three.give(1, CallFailed(2, unanswered))
    three.wait(SECOND)
    assert leading.followers[2].match == three.nodes[1].replication.log.last_index
    assert three.names(2) == ["crm_config", "one"]


def _apart(folder: Path, keep_entries: int) -> Net:
    """Node 1 has shown more alone than nodes 2 and 3, who have quorum."""
    net = Net(3, keep_entries=keep_entries)
    net.stores = {1: CibStore(FolderStorage(folder))}
    net.stores[1].load(wall_s=1)
    net.view(1, 2, 3)
    net.write(1, "both")
    net.view(2, 3)
    net.view(1, quorate=False)
    for name in "abcdefgh":
        net.write(1, name, force=True)
    net.write(2, "x")
    return net


def _shown(net: Net, node: int) -> list[tuple[CibVersion, str]]:
    return [(e.version, e.digest) for at, e in net.events if at == node and isinstance(e, Committed)]


@pytest.mark.parametrize("keep_entries", [1_000, 1])
@pytest.mark.parametrize("crashes", [1, 2, 3])
def test_no_version_goes_back_when_a_merge_is_interrupted(
    tmp_path: Path, crashes: int, keep_entries: int
) -> None:
    """The daemon ends when what it had shown is cut from its disk and no DC knows of it yet (I12)."""
    net = _apart(tmp_path, keep_entries)
    for number in range(crashes):
        net.mute = {1}
        net.view(1, 2, 3)
        net.write(2, f"y{number}")
        assert "x" in net.names(1)
        assert "a" not in net.names(1)
        net.mute = set()
        net.stores[1] = CibStore(FolderStorage(tmp_path))
        net.restart(1, net.stores[1].load(wall_s=2))
    net.view(1, 2, 3)
    net.write(2, "z")
    net.wait(SECOND)
    assert net.content(1) == net.content(2)
    shown = _shown(net, 1)
    assert shown[-1][1] == net.nodes[2].replication.log.committed.digest
    for (before, digest), (after, other) in itertools.pairwise(shown):
        assert before < after or (before == after and digest == other), (before, after)


def test_a_snapshot_is_the_same_however_it_is_come_by() -> None:
    """From the one before, or from what was remembered midway, also when that was cut off meanwhile."""
    log = Log(Snapshot(), (), 0, keep_entries=4)
    version = CibVersion(0, 1, 0)
    for number in range(40):
        version = version.configuration_changed()
        content = log.head.content
        entry = log.append_new(
            term=Term(1, 1),
            basis=Basis.MAJORITY,
            kind=Kind.PATCH,
            version=version,
            content=content.with_children((*content.children[-2:], element(f"e{number}"))),
        )
        if number == 6:  # beyond the middle, which goes with it
            log.commit(entry.index, safe=True)
            again = log.cut(3)
            for one in again:
                log.append(one)
        if number % 3 == 0:
            continue  # two are committed at a time then
        log.commit(entry.index, safe=True)
        bound = log.compactable()
        if bound is not None:
            entries = tuple(log.after(log.base.index))
            plain = Log(log.base, entries, log.commit_index, keep_entries=1_000)
            assert log.compact(bound)[0] == plain.snapshot(bound)
    assert log.base.index >= 30
