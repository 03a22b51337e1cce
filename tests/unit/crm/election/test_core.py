"""The election's rules as scenarios: events in, effects out. See tests/scenarios/election."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from crm.cib.replication.model import LogRank, Promise
from crm.cib.versions import CibVersion
from crm.election.core import MS, Election
from crm.election.messages import Claim, DcLost, DcLostReply, VoteReply, VoteRequest
from crm.election.model import ElectionSettings, Following, Lost, PeersChanged, Result, Won
from crm.replica.effects import Call, CancelTimer, Note, PersistPromise, Reply, SetTimer
from hacluster.vocabulary.ids import BootToken, NodeId, NodeName, Term, ViewId
from hacluster.vocabulary.membership import Authority, Member, MembershipView, QuorumConfig
from tests.datadriven import Command, run_file

SCENARIOS = Path(__file__).parents[3] / "scenarios" / "election"


@dataclass
class Facts:
    """A log of which the election knows only this."""

    rank: LogRank = LogRank()  # noqa: RUF009
    version: CibVersion = CibVersion()  # noqa: RUF009
    blank: bool = False
    fencing_enabled: bool = False
    quorum: QuorumConfig = QuorumConfig(voters=())  # noqa: RUF009


def a_term(text: str) -> Term:
    counter, node = text.split(".")
    return Term(int(counter), int(node))


def a_rank(text: str) -> LogRank:
    """ "safe index/last index" of term 1.1."""
    safe, last = (int(part) for part in text.split("/"))
    return LogRank(safe_term=Term(1, 1), safe_index=safe, last_term=Term(1, 1), last_index=last)


def a_token(node: int) -> BootToken:
    return BootToken(f"{node:x}" * 64)


class Scenario:
    """One node's election, driven by the commands of a file."""

    def __init__(self) -> None:
        self.facts = Facts()
        self.election: Election | None = None
        self.view = ViewId(0, 0)
        self.now_ms = 0
        self.since = 0  # all nodes are members since the first view

    def handle(self, command: Command) -> str:
        options = command.options
        self.now_ms = int(options.get("at", self.now_ms))
        results = self._results(command.name, options)
        return "\n".join(line for line in (shown(result, self.now_ms) for result in results) if line)

    def _results(self, name: str, options: dict[str, str]) -> list[Result]:
        if name == "node":
            return self._node(options)
        election = self.election
        assert election is not None
        now = self.now_ms * MS
        peer = int(options.get("from", "0"))
        match name:
            case "view":
                return election.authority(self._authority(options), now)
            case "claim":
                return election.claim(
                    peer, self._claim(peer, options), 1 if "request" in options else None, now
                )
            case "vote":
                request = VoteRequest(
                    term=a_term(options["term"]),
                    view=self._view(options),
                    boot_token=a_token(int(options.get("boot", election.settings.me))),
                    rank=a_rank(options.get("rank", "5/5")),
                    bootstrap="bootstrap" in options,
                )
                return election.vote_request(peer, request, 1, now)
            case "granted" | "refused":
                reply = VoteReply(
                    term=a_term(options["term"]),
                    granted=name == "granted",
                    counts=options.get("counts") != "no",
                    promised=a_term(options.get("promised", options["term"])),
                    rank=a_rank(options.get("rank", "5/5")),
                )
                return election.vote_reply(peer, reply, now)
            case "heard":
                return election.dc_heard(a_term(options["term"]), now)
            case "lost":
                message = DcLost(view=self._view(options), term=a_term(options["term"]))
                return election.dc_lost(peer, message, 1, now)
            case "agrees":
                return election.dc_lost_reply(
                    peer, DcLostReply(term=a_term(options["term"]), agree=True), now
                )
            case "timer":
                return election.timer(options["key"], now)
            case "seen":
                return election.term_seen(a_term(options["term"]), now)
            case "restored":
                return election.restored()
            case _:
                raise AssertionError(name)

    def _node(self, options: dict[str, str]) -> list[Result]:
        self.since = 0
        voters = [int(node) for node in options["voters"].split(",")]
        self.facts = Facts(
            rank=a_rank(options.get("rank", "5/5")),
            blank="blank" in options,
            fencing_enabled="fencing" in options,
        )
        settings = ElectionSettings(
            me=int(options["me"]),
            boot_token=a_token(int(options["me"])),
            instance=1,
            quorum=QuorumConfig(
                voters=tuple((NodeId(node), 1) for node in voters),
                two_node="two_node" in options,
                wait_for_all="wait" in options,
            ),
        )
        self.facts.quorum = replace(settings.quorum, next=self._next(options))
        promise = Promise(term=a_term(options.get("promised", "1.1")), voter="blank" not in options)
        if "blank" in options:
            self.facts.rank, promise = LogRank(), Promise()
        self.election = Election(settings, self.facts, promise)
        return []

    @staticmethod
    def _next(options: dict[str, str]) -> QuorumConfig | None:
        """The voters to come, while they change."""
        if "next" not in options:
            return None
        return QuorumConfig(voters=tuple((NodeId(int(node)), 1) for node in options["next"].split(",")))

    def _view(self, options: dict[str, str]) -> ViewId:
        return ViewId(int(options["view"]), 1) if "view" in options else self.view

    def _authority(self, options: dict[str, str]) -> Authority:
        self.view = ViewId(int(options["id"]), 1)
        self.since = self.since or self.view.counter
        instances = dict(part.split(":") for part in options.get("crm", "").split(",") if part)
        members = tuple(
            Member(
                id=NodeId(int(node)),
                name=NodeName(f"n{node}"),
                incarnation=1,
                boot_token=a_token(int(node)),
                crm_instance=int(instances.get(node, "1")),
            )
            for node in options["members"].split(",")
        )
        view = MembershipView(id=self.view, members=members)
        return Authority(view=view, quorate=options.get("quorate") != "no")

    def _claim(self, peer: int, options: dict[str, str]) -> Claim:
        return Claim(
            node_id=peer,
            view=self._view(options),
            promised=a_term(options.get("promised", "1.1")),
            rank=LogRank() if "blank" in options else a_rank(options.get("rank", "5/5")),
            eligible=options.get("eligible") != "no",
            voter=options.get("voter") != "no" and "blank" not in options,
            blank="blank" in options,
            incumbent="incumbent" in options,
            member_since=self.since,
            dc=a_term(options.get("dc", "0.0")),
            deposed=a_term(options.get("deposed", "0.0")),
            version=CibVersion(0, int(options.get("epoch", "0")), 0),
        )


def shown(result: Result, now_ms: int) -> str:
    """One line; cancelled timers are left out."""
    match result:
        case Call(peer, Claim() as claim):
            extra = " incumbent" if claim.incumbent else ""
            extra += f" deposed={claim.deposed}" if claim.deposed.counter else ""
            return f"claim to {peer}: promised={claim.promised}{extra}"
        case Call(peer, VoteRequest() as vote):
            kinds = " caretaker" * vote.caretaker + " bootstrap" * vote.bootstrap
            return f"ask {peer} for a vote: term={vote.term}{kinds}"
        case Call(peer, message):
            return f"to {peer}: {type(message).__name__}"
        case Reply(_, VoteReply() as vote):
            counts = "" if vote.counts or not vote.granted else " (does not count)"
            return ("grant" if vote.granted else "refuse") + f": promised={vote.promised}{counts}"
        case Reply(_, message):
            return (
                f"reply: {message}"
                if isinstance(message, DcLostReply)
                else f"reply: {type(message).__name__}"
            )
        case PersistPromise(promise):
            return f"persist promise {promise.term}" + ("" if promise.voter else " without a vote")
        case SetTimer(key, at_ns):
            return f"timer {key} in {at_ns // MS - now_ms} ms"
        case Won(term=term, basis=basis, waits=waits, granters=granters):
            return f"WON {term} {basis.value}{' waits' * waits} by {sorted(granters)}"
        case Lost(why):
            return f"LOST: {why}"
        case Following(term):
            return f"FOLLOWING {term}"
        case PeersChanged():
            return "peers changed"
        case Note(name, fields):
            return " ".join(["note", name, *(f"{key}={value}" for key, value in fields)])
        case CancelTimer():
            return ""
        case _:
            raise AssertionError(result)


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.txt")), ids=lambda path: path.stem)
def test_election(path: Path, rewrite: bool) -> None:
    run_file(path, Scenario().handle, rewrite=rewrite)
