"""ha-messaging: who is here. Heartbeats, failure detection, membership views, quorum."""

import sys

# structlog imports rich for tracebacks in colour when it is there: a fifth of the CPU time of a restart,
# which has one second in all. None stands for "not there", which the type of sys.modules does not know.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
