"""crm_simulate by that name, for harnesses that call Pacemaker's tool."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """`hacli simulate` with the options as crm_simulate takes them; -L asks the cluster of this node."""
    from cli.commands.programs import simulate
    from cli.context import Context
    from hacluster.errors import HaError

    context = Context()
    try:
        return simulate(context, list(sys.argv[1:] if argv is None else argv))
    except HaError as error:
        context.error(str(error))
        return 1
    finally:
        context.close()


if __name__ == "__main__":
    sys.exit(main())
