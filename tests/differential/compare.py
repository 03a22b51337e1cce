"""One seed: its CIBs, fresh, settled and after events, ours beside the reference's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lxml import etree

from crm.cib import codec
from crm.cib.model import Element
from tests.differential.events import happen
from tests.differential.known import known_change
from tests.differential.old_rules import CHANGES, old_rules
from tests.differential.oracle import Actions, Answer, Oracle, OracleFailed, decide, ours
from tests.differential.random_cib import NOW_S, RandomCib

EVENTS_A_SEED = 2
HISTORY_AGE_S = 3000
AGREE, OPEN, FAILED, GAVE_UP = "agree", "open", "our failure", "reference gave up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One CIB. `verdict`: agree, open, our failure, reference gave up, or the names of known changes.

    `as_old`: whether the actions agree with all of 2.1.5's rules put back; `scores`, `known_scores` and
    `old_scores`: whether the scores do, as they are, with the known changes put back, and with all of them.
    """

    seed: int
    what: str
    verdict: str
    source: bytes
    missing: Actions
    surplus: Actions
    error: str = ""
    as_old: bool = False
    scores: bool = False
    known_scores: bool = False
    old_scores: bool = False


def _failing(source: bytes, seed: int) -> tuple[str, ...]:
    """Arguments that let one or two operations of the next transition fail."""
    rng = random.Random(f"{seed}/fail")
    actions = sorted(
        (key, node) for (_, task, key, node) in ours(codec.parse(source)) if node and task != "stonith"
    )
    chosen = rng.sample(actions, min(len(actions), rng.choice((1, 1, 2))))
    return tuple(f"--op-fail={key}@{node}={rng.choice((1, 1, 5, 7))}" for key, node in chosen)


def results(seed: int, oracle: Oracle, share: float | None = None) -> Iterator[Result]:
    """Fresh, after a transition in which something failed, settled, then events on the settled one.

    `share` of the features, else as many as the seed wants.
    """
    asked = [b""]

    def ask(source: bytes, *arguments: str) -> Answer:
        asked[0] = source
        answer = oracle.ask(source, *arguments)
        return replace(answer, after=with_plain_history(answer.after))

    fresh = codec.render(RandomCib(seed, share).build()).encode()
    try:
        interrupted = ask(fresh, *_failing(fresh, seed)).after
        answer = ask(fresh)
        yield judge(seed, "fresh", fresh, answer)
        yield judge(seed, "interrupted", interrupted, ask(interrupted))
        settled = answer.after
        answer = ask(settled)
        yield judge(seed, "settled", settled, answer)
        settled = answer.after
        for number in range(EVENTS_A_SEED):
            tree = etree.fromstring(settled)
            what = happen(tree, random.Random(f"{seed}/{number}"))
            changed = etree.tostring(tree)
            answer = ask(changed)
            yield judge(seed, f"{number}: {what}", changed, answer)
            if number + 1 < EVENTS_A_SEED:
                settled = ask(answer.after).after
    except OracleFailed as error:
        nothing = Actions()
        yield Result(
            seed=seed,
            what="",
            verdict=GAVE_UP,
            source=asked[0],
            missing=nothing,
            surplus=nothing,
            error=str(error),
        )


def with_plain_history(source: bytes) -> bytes:
    """What crm_simulate writes, as a real cluster would have written it.

    Entries name their node, and none is younger than the cluster's "now" (crm_simulate stamps them with the
    clock of the machine): the age of entries depends on both. A cancelled operation leaves no entry, nor does
    its cancellation, which 2.1.5 would take for a sign of life.
    """
    tree = etree.fromstring(source)
    for resource in list(tree.iter("lrm_resource")):
        gone = {one.get("interval") for one in resource if one.get("operation") == "cancel"}
        for entry in list(resource):
            if entry.get("interval") in gone:
                resource.remove(entry)
    for entry in tree.iter("lrm_rsc_op"):
        state = next(entry.iterancestors("node_state"))
        entry.set("on_node", state.get("uname", ""))
        if int(entry.get("last-rc-change", "0")) > NOW_S:
            entry.set("last-rc-change", str(NOW_S - HISTORY_AGE_S + int(entry.get("call-id", "0"))))
    text: bytes = etree.tostring(tree)
    return text


def judge(seed: int, what: str, source: bytes, answer: Answer) -> Result:
    """Ours beside the reference's for one CIB."""
    wanted = answer.actions
    cib: Element = codec.parse(source)
    try:
        got = decide(cib)
        with old_rules(CHANGES):
            old = decide(cib)
    except Exception as error:  # a crash of ours on any input is what this looks for
        text = f"{type(error).__name__}: {error}"
        return Result(
            seed=seed, what=what, verdict=FAILED, source=source, missing=wanted, surplus=Actions(), error=text
        )
    agree, scores = got.actions == wanted, got.scores == answer.scores
    known = None if agree else known_change(cib, wanted, answer.scores)
    return Result(
        seed=seed,
        what=what,
        verdict=AGREE if agree else str(known or OPEN),
        source=source,
        missing=wanted - got.actions,
        surplus=got.actions - wanted,
        as_old=old.actions == wanted,
        scores=scores,
        known_scores=scores if known is None else known.scores,
        old_scores=old.scores == answer.scores,
    )
