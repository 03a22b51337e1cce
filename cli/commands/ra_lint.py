"""`hacli ra lint`: whether an init script keeps to what a cluster needs of it, tried out on this node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cli.agent_runs import Subject, call
from cli.context import EXIT_FAILED, EXIT_OK, Context, UsageError
from hacluster.errors import HaError, InvalidRequest

_USAGE: Final = "ra lint lsb:NAME"
_STOPPED: Final = 3
# The action, what it has to answer, and what goes wrong in a cluster otherwise.
_STEPS: Final = (
    ("start", 0, "it counts as failed, and is tried elsewhere"),
    ("status", 0, "what runs is recovered for ever"),
    ("start", 0, "starting what runs is success: a start may be repeated after its answer was lost"),
    ("status", 0, "a second start must not end it"),
    ("stop", 0, "a stop that fails gets the node fenced"),
    ("status", _STOPPED, "it is believed to run here, and is not started elsewhere"),
    ("stop", 0, "stopping what is stopped is success; otherwise the node is fenced"),
)


def lint(context: Context, words: Sequence[str]) -> int:
    """`lint lsb:NAME`: starts and stops it, twice each, and looks in between.

    It must be stopped, and no resource. What is not as it must be is said with what it leads to, and the
    others are tried all the same; after a start that fails it is only stopped.
    """
    from agents.catalog import Catalog
    from cli.agent_information import agent_name

    if len(words) != 1:
        raise UsageError(what="name an init script", usage=_USAGE)
    catalog = Catalog.of_this_node()
    name = agent_name(words[0], catalog)
    if catalog.resolve(name).standard != "lsb":
        raise InvalidRequest(what=f"{name} is no init script", remedy="`ocf-tester` checks OCF agents")
    _refuse_a_resource(context, name.type)
    subject = Subject(name=name.type, agent=str(name), parameters={}, timeouts_s={})
    found = _ask(context, subject, "status")
    if found != _STOPPED:
        what = f"{name} is running here" if found == 0 else f"status says {found}, not 3 (stopped)"
        raise InvalidRequest(what=what, remedy="stop it first: the check starts and stops it")
    wrong = 0
    for action, wanted, consequence in _STEPS:
        said = _ask(context, subject, action)
        context.print(
            f"{action}: {'ok' if said == wanted else f'WRONG, {said} instead of {wanted}: {consequence}'}"
        )
        context.out.flush()
        wrong += said != wanted
        if action == "start" and said != 0 and wrong == 1:
            _ask(context, subject, "stop")
            break
    context.print(f"{name}: {'fit for a cluster' if not wrong else f'not fit for a cluster: {wrong} wrong'}")
    return EXIT_FAILED if wrong else EXIT_OK


def _refuse_a_resource(context: Context, kind: str) -> None:
    """What the cluster runs, perhaps elsewhere, must not be started here. Raises InvalidRequest."""
    try:
        cib = context.open_workspace().cib
    except HaError as error:
        context.info(f"no cluster to ask whether {kind} is a resource: {error}")
        return
    for item in cib.walk():
        is_it = item.tag in ("primitive", "template") and item.get("type") == kind
        if is_it and item.get("class").lower() in ("lsb", "service", "systemd"):
            raise InvalidRequest(
                what=f"{kind} is the cluster's resource {item.id}",
                remedy="`hacli configure rsctest` tries a stopped resource",
            )


def _ask(context: Context, subject: Subject, action: str) -> int:
    called = call(context, subject, "monitor" if action == "status" else action)
    for line in called.lines:
        context.info(f"{subject.name} {action}: {line}")
    return called.outcome.raw_status if called.outcome.raw_status else int(called.outcome.rc)
