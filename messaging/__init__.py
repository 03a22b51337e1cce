"""ha-messaging: who is here. Heartbeats, failure detection, membership views, quorum."""

import sys

# structlog imports rich for tracebacks in colour when it is there: a fifth of the CPU time of a restart,
# which has one second in all.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # None is "not there"; typeshed lacks it
