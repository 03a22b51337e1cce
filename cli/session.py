"""Ending a set of pending changes: check, write, say what became of it."""

from __future__ import annotations

from cli.context import EXIT_FAILED, EXIT_OK, Context


def finish_session(context: Context) -> int:
    """Write what is pending; 0 when there is nothing. The workspace stays open, on what was written.

    Warnings that held before the changes are left to `verify`.
    """
    workspace = context.workspace
    if workspace is None or not workspace.changed:
        return EXIT_FAILED if workspace is not None and workspace.failed else EXIT_OK
    if workspace.failed and not context.options.force:
        context.error("nothing was written, because of the errors above")
        return EXIT_FAILED
    from cli.grammar.verify import Severity, verify

    known = set(verify(workspace.base.cib))
    problems = [
        problem
        for problem in verify(workspace.cib)
        if problem.severity is Severity.ERROR or problem not in known
    ]
    for problem in problems:
        (context.error if problem.severity is Severity.ERROR else context.warning)(str(problem))
    if any(problem.severity is Severity.ERROR for problem in problems) and not context.options.force:
        context.error("nothing was written; -F or `commit force` writes all the same")
        return EXIT_FAILED
    if workspace.commit("hacli configure"):
        context.changed_cluster = True
    return EXIT_OK
