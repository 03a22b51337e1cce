"""Which watchdog devices may be counted on."""

from __future__ import annotations

import struct

import pytest

from lrm.sentinel.watchdog import WDIOC_GETSUPPORT, WDIOF_MAGICCLOSE, judge

SETTIMEOUT, KEEPALIVE = 0x0080, 0x8000


def info(options: int, identity: str) -> bytes:
    return struct.pack("II32s", options, 0, identity.encode())


def test_the_request_has_the_size_of_its_answer() -> None:
    assert len(info(0, "")) == (WDIOC_GETSUPPORT >> 16) & 0x3FFF


@pytest.mark.parametrize(
    ("options", "nowayout", "identity", "kind"),
    [
        (SETTIMEOUT | KEEPALIVE | WDIOF_MAGICCLOSE, False, "i6300ESB timer", "hardware"),
        (SETTIMEOUT | KEEPALIVE | WDIOF_MAGICCLOSE, False, "Software Watchdog", "softdog"),
        (SETTIMEOUT | KEEPALIVE, True, "some timer", "hardware"),
    ],
)
def test_who_bites_when_the_sentinel_is_killed_counts(
    options: int, nowayout: bool, identity: str, kind: str
) -> None:
    assert judge(info(options, identity), nowayout=nowayout) == ("", kind)


def test_a_device_that_any_close_disarms_does_not_count() -> None:
    why, _ = judge(info(SETTIMEOUT | KEEPALIVE, "some timer"), nowayout=False)
    assert "no magic close" in why
