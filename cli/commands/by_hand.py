"""`hacli configure rsctest` and `hacli maintenance action`: agents called by hand, here or by ssh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from cli import elsewhere
from cli.agent_runs import Called, Subject, call, subject_of
from cli.commands.changes import read, this_node, view_of
from cli.context import EXIT_FAILED, EXIT_OK, Context, UsageError
from cli.grammar.document import find, parent_of
from cli.grammar.pairs import is_promotable
from cli.grammar.pairs import value as pair_value
from hacluster.errors import HaError, InvalidRequest, NotFound

if TYPE_CHECKING:
    from crm.cib.model import Element

ELSEWHERE_WITHIN_S: Final = 1_800
_RUNNING: Final = 0
_NOT_RUNNING: Final = 7
_PROMOTED: Final = 8
_HARMLESS: Final = ("monitor", "validate-all", "meta-data")
_ANYWHERE: Final = ("start", *_HARMLESS)
_ACTIONS: Final = ("start", "stop", "promote", "demote", "reload", "monitor", "validate-all", "meta-data")


def rsctest(context: Context, words: Sequence[str]) -> int:
    """`rsctest RSC… [NODE…|all]`: probe, start, monitor and stop resources that do not run.

    On this node unless others are named. They are started in the order given, and stopped in reverse whatever
    happens in between.
    """
    workspace = context.open_workspace()
    names = [word for word in words if find(workspace.cib, word, "primitive") is not None]
    nodes = list(words[len(names) :])
    if not names or list(words[: len(names)]) != names:
        unknown = next((word for word in words if word not in names), "")
        raise (
            NotFound(kind="primitive", name=unknown)
            if unknown
            else UsageError(what="name a primitive", usage="rsctest RSC… [NODE…|all]")
        )
    if not context.offline:
        _refuse_what_runs(workspace.cib, names)
    if not nodes:
        return _test_here(context, [subject_of(context, workspace.cib, name) for name in names])
    if workspace.changed:
        raise InvalidRequest(
            what="other nodes do not see changes that are not committed",
            remedy="commit them with meta target-role=Stopped, then test",
        )
    return _on_each(context, nodes, ["configure", "rsctest", *names], lambda: rsctest(context, names))


def _refuse_what_runs(cib: Element, names: Sequence[str]) -> None:
    """Only what is stopped, and stays so, is tested. Raises InvalidRequest."""
    shown = view_of(cib)
    alone = shown.unmanaged()
    for name in names:
        item = find(cib, name, "primitive")
        assert item is not None
        active = shown.active_nodes(item)
        if active:
            raise InvalidRequest(
                what=f"{name} is running on {', '.join(active)}", remedy=f"`hacli resource stop {name}`"
            )
        if name not in alone and not _is_stopped(cib, item):
            raise InvalidRequest(
                what=f"the cluster may start {name} at any time",
                remedy=f"`hacli resource stop {name}` first, or take it out with `unmanage`",
            )


def _is_stopped(cib: Element, item: Element | None) -> bool:
    """It, or what it is in, is to be stopped."""
    while item is not None:
        if pair_value(item, "meta_attributes", "target-role").lower() == "stopped":
            return True
        item = parent_of(cib, item.id)
    return False


def _test_here(context: Context, subjects: Sequence[Subject]) -> int:
    cib = context.open_workspace().cib
    probes = [_says(context, subject, "monitor", (_NOT_RUNNING,), "probe") for subject in subjects]
    if not all(probes):
        return EXIT_FAILED
    failed = False
    started: list[Subject] = []
    for subject in subjects:
        started.append(subject)
        if not _works(context, subject, promotable=_can_be_promoted(cib, subject.name)):
            failed = True
            break
    for subject in reversed(started):
        if not _says(context, subject, "stop", (_RUNNING,)):
            context.error(f"{subject.name}: not stopped: it may still run on this node")
            failed = True
        elif not _says(context, subject, "monitor", (_NOT_RUNNING,), "probe"):
            failed = True
    return EXIT_FAILED if failed else EXIT_OK


def _works(context: Context, subject: Subject, *, promotable: bool) -> bool:
    steps: list[tuple[str, tuple[int, ...]]] = [("start", (_RUNNING,)), ("monitor", (_RUNNING,))]
    if promotable:
        steps += [("promote", (_RUNNING,)), ("monitor", (_PROMOTED,)), ("demote", (_RUNNING,))]
    return all(_says(context, subject, step, wanted) for step, wanted in steps)


def _can_be_promoted(cib: Element, name: str) -> bool:
    parent = parent_of(cib, name)
    while parent is not None and not is_promotable(parent):
        parent = parent_of(cib, parent.id)
    return parent is not None


def _says(context: Context, subject: Subject, action: str, wanted: Sequence[int], label: str = "") -> bool:
    """Call it; one line says how it ended. The agent's own words follow when it was not as wanted."""
    called = call(context, subject, action)
    fits = int(called.outcome.rc) in wanted and not called.outcome.status
    context.print(f"{subject.name} {label or action}: {'ok' if fits else _ending(called)}")
    context.out.flush()
    if not fits:
        for line in called.lines:
            context.info(f"{subject.name}: {line}")
    return fits


def _ending(called: Called) -> str:
    outcome = called.outcome
    name = outcome.rc.name.lower().replace("_", " ")
    return f"FAILED, {name} ({int(outcome.rc)})" + (f": {outcome.reason}" if outcome.reason else "")


def action(context: Context, words: Sequence[str]) -> int:
    """`action RSC ACTION [ssh]`: the agent's action, on this node; with `ssh` on all that it is for."""
    usage = "maintenance action RSC ACTION [ssh]"
    if len(words) not in (2, 3) or words[2:] not in ((), ("ssh",)):
        raise UsageError(what="a resource and an action are needed", usage=usage)
    name, wanted = words[0], words[1]
    if wanted not in _ACTIONS:
        raise UsageError(what=f"{wanted!r} is no action (one of {' '.join(_ACTIONS)})", usage=usage)
    cib = read(context)
    subject = subject_of(context, cib, name)
    item = find(cib, name, "primitive")
    assert item is not None
    active: tuple[str, ...] = ()
    if not context.offline:
        shown = view_of(cib)
        active = shown.active_nodes(item)
        if wanted not in _HARMLESS and name not in shown.unmanaged():
            raise InvalidRequest(
                what=f"{name} is managed: the cluster would not know of it",
                remedy=f"`hacli resource maintenance {name}`, or `hacli maintenance on`, first",
            )
    if len(words) == 3:
        nodes = ["all"] if wanted in _ANYWHERE else [*active]
        if not nodes:
            raise InvalidRequest(what=f"{name} runs nowhere")
        own = words[:2]
        return _on_each(context, nodes, ["maintenance", "action", *own], lambda: action(context, own))
    if active and wanted not in _ANYWHERE and this_node(context) not in active:
        raise InvalidRequest(
            what=f"{name} runs on {', '.join(active)}, not here", remedy=f"`{usage}` goes there"
        )
    called = call(context, subject, wanted)
    for line in called.lines:
        context.print(line) if wanted == "meta-data" else context.info(line)
    fine = called.outcome.succeeded or (wanted == "monitor" and not called.outcome.status)
    if wanted == "monitor" and fine:
        said = {_RUNNING: "running", _NOT_RUNNING: "not running", _PROMOTED: "promoted"}
        context.print(f"{name}: {said.get(int(called.outcome.rc), _ending(called))}")
        return EXIT_OK if int(called.outcome.rc) in said else EXIT_FAILED
    if not fine:
        context.error(f"{name} {wanted}: {_ending(called)}")
        return EXIT_FAILED
    context.info(f"{name} {wanted}: ok")
    return EXIT_OK


def _on_each(context: Context, nodes: Sequence[str], words: Sequence[str], here: Callable[[], int]) -> int:
    """One node after the other, all of them; status 1 when one failed."""
    me = this_node(context)
    status = EXIT_OK
    for node in elsewhere.chosen(context, nodes, everybody=("all", "--all")):
        if node == me:
            status = here() or status
            continue
        try:
            answer = elsewhere.hacli(context, node, words, within_s=ELSEWHERE_WITHIN_S)
        except HaError as error:
            context.error(str(error))
            status = EXIT_FAILED
            continue
        elsewhere.relay(context, answer)
        status = EXIT_FAILED if answer.status else status
    return status
