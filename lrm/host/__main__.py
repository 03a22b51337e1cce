"""`python -m lrm.host FD`: the warm host, started by lrm-exec with one end of a socket pair."""

from __future__ import annotations

import os
import socket
import sys

from agents.sdk import preload, run
from lrm.host.zygote import serve


def main() -> int:
    """Serve until lrm-exec closes its end."""
    control = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)
    os.chdir("/")
    preload()
    serve(control, run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
