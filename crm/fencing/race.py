"""Two nodes that lost each other: who shoots first, and how long the other waits (spec 11.4). Pure."""

from __future__ import annotations

from typing import Final

from hacluster.durations import parse_ms

UNMEASURED_MS: Final = 2_000
"""When no run of the device has been measured: longer than most take."""

LEAST_MS: Final = 1_000
MARGIN: Final = 1.2
SKEW_MS: Final = 500
"""How much later one side may notice the loss, and have its plan, than the other."""


def isolated_ms(option: str, *, own: int, peer: int, deadtime_ms: int) -> int:
    """How much longer this node waits because it is the worse connected one (isolated-delay).

    `own`, `peer`: links with carrier and live ping targets, ours now and the other's as it said last; 0: not
    known, and nobody waits. The default is two deadtimes.
    """
    if not 0 < own < peer:
        return 0
    try:
        return parse_ms(option) if option else 2 * deadtime_ms
    except ValueError:
        return 2 * deadtime_ms  # said by `hacli verify`


def delay_ms(option: str, *, was_dc: bool, decided: bool, longest_ms: int) -> int:
    """How long this node waits before its first shot at the other of two.

    `option` is two-node-delay. Who was DC shoots at once. `decided`: devices' delays or priorities say who is
    first. `longest_ms`: the longest run of the device that was ever measured, 0 without one.
    """
    if option in ("off", "0", "false") or was_dc or decided:
        return 0
    if option != "auto":
        try:
            return parse_ms(option)
        except ValueError:
            pass  # said by `hacli verify`; two nodes without a delay would both be dead
    if not longest_ms:
        return UNMEASURED_MS
    return max(int(longest_ms * MARGIN), LEAST_MS) + SKEW_MS
