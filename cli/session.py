"""Ending a set of pending changes: check, show what it leads to, write, say what became of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cli.context import EXIT_CONFLICT, EXIT_FAILED, EXIT_OK, EXIT_REFUSED, EXIT_UNSAFE, Context
from hacluster.durations import render_ms
from hacluster.errors import Conflict

if TYPE_CHECKING:
    from cli.grammar.verify import Problem
    from cli.planning import Plan
    from cli.workspace import Workspace
    from crm.cib.schema import Problem as Doubt


def finish_session(context: Context, client: str = "hacli configure") -> int:
    """Write what is pending; 0 when there is nothing. The workspace stays open, on what was written.

    Warnings that held before the changes are left to `verify`.
    """
    workspace = context.workspace
    if workspace is None or not workspace.changed:
        return EXIT_FAILED if workspace is not None and workspace.failed else EXIT_OK
    if workspace.failed and not context.options.force:
        context.error("nothing was written, because of the errors above")
        return EXIT_FAILED
    if not _is_valid(context, workspace):
        return EXIT_REFUSED
    careful = context.options.safe or (workspace.deletes and not context.options.force)
    if (context.shows_plans or careful) and not show_plan(context, workspace):
        context.info("nothing was written")
        return EXIT_UNSAFE
    return write(context, workspace, client)


def _is_valid(context: Context, workspace: Workspace) -> bool:
    """Says what is wrong. What no schema allows is not written, whoever insists; the rest is with `force`."""
    from cli.grammar.document import configuration_of
    from cli.grammar.verify import Severity, verify
    from crm.cib import schema

    known = set(verify(workspace.base.cib))
    problems = [
        problem
        for problem in verify(workspace.cib)
        if problem.severity is Severity.ERROR or problem not in known
    ]
    problems += _of_agents(context, workspace)
    for problem in problems:
        (context.error if problem.severity is Severity.ERROR else context.warning)(str(problem))
    if any(problem.severity is Severity.ERROR for problem in problems):
        before = schema.refusal(configuration_of(workspace.base.cib)).splitlines()
        after = schema.refusal(configuration_of(workspace.cib)).splitlines()
        if any(line not in before for line in after):
            context.error("nothing was written: the cluster would refuse it")
            return False
        if not context.options.force:
            context.error("nothing was written; -F or `commit force` writes all the same")
            return False
    said = {str(problem) for problem in problems}
    for doubt in _new_doubts(workspace):
        if str(doubt) not in said:
            context.warning(str(doubt))
    return True


def _of_agents(context: Context, workspace: Workspace) -> tuple[Problem, ...]:
    """What agents say against parameters that this commit changes; a file may be meant for other nodes."""
    from cli.grammar.document import section

    before, after = workspace.base.cib, workspace.cib
    if context.offline or section(before, "resources") == section(after, "resources"):
        return ()
    from cli.agent_checks import new_problems
    from cli.agent_sources import AgentsOfTheCluster

    return new_problems(before, after, AgentsOfTheCluster(context, before))


def _new_doubts(workspace: Workspace) -> tuple[Doubt, ...]:
    """What `verify` would find, and would not have found before; it refuses nothing."""
    from crm.explain.quick import quick_doubts

    now_s = int(time.time())
    found = quick_doubts(workspace.cib, now_s)
    if not found:
        return ()
    known = set(quick_doubts(workspace.base.cib, now_s))
    return tuple(one for one in found if one not in known)


def plan_of(workspace: Workspace) -> Plan:
    """What the pending changes lead to; without anything named, or left out on purpose, all is asked for."""
    from cli.planning import make_plan

    named, pruned = frozenset(workspace.named), frozenset(workspace.pruned)
    wanted = named if named or pruned else None
    return make_plan(workspace.base.cib, workspace.cib, int(time.time()), wanted, pruned)


def show_plan(context: Context, workspace: Workspace) -> bool:
    """What the change leads to, to standard error. Asks when others than it is about would be interrupted."""
    status = workspace.base.cib.child("status")
    if not context.shows_plans and (status is None or not status.all("node_state")):
        return True  # a configuration in a file: nothing runs
    from cli import colour
    from cli.render.plan import plan_text, steps_text

    before, after, plan = workspace.base.cib, workspace.cib, plan_of(workspace)
    if context.shows_plans:
        context.out.flush()
        context.err.write(plan_text(plan, before, after, colour=colour.wanted(context, context.err)))
        context.err.flush()
    nobody = workspace.deletes and not context.options.force and not context.can_ask
    if plan.unasked and (context.options.safe or nobody):
        context.error(f"this would {steps_text(plan.unasked)}; -F does it all the same")
        return False
    if not plan.unasked or not (context.interactive or workspace.deletes):
        return True
    return context.confirm(f"This would {steps_text(plan.unasked)}. Write it?")


def write(context: Context, workspace: Workspace, client: str) -> int:
    """Write what was checked. A conflict is shown; the changes stay pending."""
    from cli.commands.changes import client_text
    from crm.cib.objects import ConflictingChanges

    confirm = context.confirm_wanted()
    try:
        written = workspace.commit(client_text(context, client), confirm=confirm)
    except Conflict as error:
        context.error(str(error))
        if isinstance(error, ConflictingChanges):
            _show_conflict(context, workspace, error.names)
        return EXIT_CONFLICT
    if written:
        context.changed_cluster = True
        if confirm is not None:
            context.info(
                f"undone in {render_ms(confirm.within_ms)} unless you say `hacli confirm`"
                + (f", or when one of {', '.join(confirm.guards)} does not run" if confirm.guards else "")
            )
    return EXIT_OK


def _show_conflict(context: Context, workspace: Workspace, names: tuple[str, ...]) -> None:
    """What the others made of the objects in question."""
    from cli.grammar.document import configuration_of
    from cli.render.changes import change_lines
    from crm.cib.objects import changes

    fresh = workspace.source.read().cib
    theirs = changes(configuration_of(workspace.base.cib), configuration_of(fresh))
    for line in change_lines([one for one in theirs if one.name in names], workspace.base.cib, fresh):
        context.err.write(f"  {line}\n")
    context.info("`refresh` drops your changes and reads again")
