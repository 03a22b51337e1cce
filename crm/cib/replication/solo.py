"""The solo right (cluster-protocol.md 9.5): when a survivor of two voters may commit alone. Pure.

It has the right when since its own boot it has learned that an entry was committed together with the other,
in the boot that is now confirmed off. Sight of the other is not enough: who lost it again before being caught
up would cut off the holder of newer writes. A view with another boot of the other takes the right away at
once. A boot of our own clears it, the restart of a daemon does not: it is kept in /run.
"""

from __future__ import annotations

TOKEN_DIGITS_MIN = 16


def same_boot(one: str, other: str) -> bool:
    """Whether two tokens name one boot; of other nodes the first 16 digits may be all that is known."""
    shorter, longer = sorted((one, other), key=len)
    return len(shorter) >= TOKEN_DIGITS_MIN and longer.startswith(shorter)


class SoloRight:
    """`right`: the other's boot with which a commit was shared; empty: none."""

    def __init__(self, right: str) -> None:
        self.right = right
        self._off = ""

    def saw(self, boot_token: str) -> bool:
        """The other is in a view, in this boot. Returns whether the right is lost by that."""
        self._off = ""
        if self.right and not same_boot(self.right, boot_token):
            self.right = ""
            return True
        return False

    def committed_with(self, boot_token: str) -> bool:
        """An entry was committed together with this boot of the other. Returns whether the right is new."""
        if self.right and same_boot(self.right, boot_token):
            return False
        self.right = boot_token
        return True

    def drop(self) -> bool:
        """There is no other any more. Returns whether a right is lost by that."""
        had, self.right, self._off = bool(self.right), "", ""
        return had

    def confirmed_off(self, boot_token: str) -> None:
        """That boot of the other is certainly over."""
        self._off = boot_token

    @property
    def may_go_alone(self) -> bool:
        """Whether this node may commit without the other."""
        return bool(self.right) and bool(self._off) and same_boot(self.right, self._off)
