"""Scripts of heartbeat 1 (resource.d): start and stop take several calls (agents.md section 5). Pure.

They are made by one sh program, so that lrm-exec has one process with one time limit: start is skipped when
status says running; stop is tried again, once a second up to ten times, while it fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# The arguments of this program are the script and its arguments without the action. A stop that fails ten
# times and leaves a status that does not say "running" counts as done: the script is not LSB-compliant.
_STATUS: Final = """
running() {
    text=$("$@" status 2>&1 </dev/null)
    case $text in
        *"not running"*) return 1 ;;
        *running*|*OK*) return 0 ;;
    esac
    return 1
}
"""

_START: Final = (
    _STATUS
    + """
if running "$@"; then
    echo "status says running: nothing to start"
    exit 0
fi
exec "$@" start
"""
)

_STOP: Final = (
    _STATUS
    + """
tries=1
while :; do
    "$@" stop && exit 0
    rc=$?
    [ "$tries" -ge 10 ] && break
    tries=$((tries + 1))
    sleep 1
done
if running "$@"; then
    exit "$rc"
fi
echo "stop failed with $rc ten times, but status does not say running: the script is not LSB-compliant" >&2
exit 0
"""
)

_PROGRAMS: Final = {"start": _START, "stop": _STOP}


def argv(call: Sequence[str]) -> tuple[str, ...]:
    """What to execute for a call whose last argument is the action."""
    *script, action = call
    program = _PROGRAMS.get(action)
    return tuple(call) if program is None else ("/bin/sh", "-c", program, "ha-legacy", *script)
