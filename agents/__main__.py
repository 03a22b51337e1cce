"""ha-agent: run one action of one of our agents as OCF wants it: `ha-agent TYPE ACTION`.

The environment comes in, the exit code and ocf-exit-reason go out. `ha-agent --list` names the types.
Run as a file by agents/bin/ha-agent it needs nothing but Python's standard library.
"""

from __future__ import annotations

import os
import sys

if not __package__:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from agents import sdk
from agents.resources import MODULES


def main() -> None:
    """Read argv, run, exit."""
    match sys.argv[1:]:
        case ["--list"]:
            print("\n".join(sorted(MODULES)))
            sys.exit(0)
        case [kind, action] if not kind.startswith("-"):
            code = int(sdk.run(kind, action, os.environ))
            # Nothing is left to flush or to clean up, and tearing the interpreter down takes milliseconds.
            os._exit(code)
        case _:
            print(f"usage: ha-agent TYPE ACTION, TYPE one of {', '.join(sorted(MODULES))}", file=sys.stderr)
            sys.exit(3)


if __name__ == "__main__":
    main()
