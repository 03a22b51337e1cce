"""The order of a hash table of nodes, where Pacemaker's results depend on it.

With capacities of several kinds "freer" is no order: of three nodes each may be freer than the next. Which
one is chosen then depends on the order they are compared in, and that is the order of GLib's hash table and
list sort. Both are reproduced here, so that such ties fall the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, TypeVar

Item = TypeVar("Item")

_SHIFT_MIN: Final = 3
_MODULI: Final = (1, 2, 3, 7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191, 16381, 32749)
"""The greatest prime below each power of two, as GLib's tables use them."""


def _hash(key: str) -> int:
    """31 h + byte, bytes signed, in 32 bits: how Pacemaker hashes strings."""
    value = 0
    for byte in key.encode():
        value = (31 * value + (byte if byte < 128 else byte - 256)) & 0xFFFFFFFF
    return max(value, 2)


class _Table:
    """Open addressing with growing steps; grows when nearly full."""

    def __init__(self) -> None:
        self._resize(_SHIFT_MIN)
        self._slots: list[str | None] = [None] * self._size

    def _resize(self, shift: int) -> None:
        self._size, self._modulus = 1 << shift, _MODULI[shift]

    def _place(self, key: str) -> int:
        index = (_hash(key) * 11 & 0xFFFFFFFF) % self._modulus
        step = 0
        while self._slots[index] is not None:
            step += 1
            index = (index + step) & (self._size - 1)
        return index

    def add(self, key: str) -> None:
        """Add a key that is not there."""
        self._slots[self._place(key)] = key
        used = sum(slot is not None for slot in self._slots)
        if self._size <= used + used // 16:
            keys = self.keys()
            self._resize(max(_SHIFT_MIN, int(used * 1.333).bit_length()))
            self._slots = [None] * self._size
            for one in keys:
                self._slots[self._place(one)] = one

    def keys(self) -> list[str]:
        """As iteration gives them."""
        return [slot for slot in self._slots if slot is not None]


@lru_cache(maxsize=256)
def table_order(keys: tuple[str, ...]) -> tuple[str, ...]:
    """The keys, put into a table in this order, in the order they are met there."""
    table = _Table()
    for key in keys:
        table.add(key)
    return tuple(table.keys())


def merge_sorted(items: Sequence[Item], compare: Callable[[Item, Item], int]) -> list[Item]:
    """Merge sort by halves, the first the smaller: GLib's list sort, also where `compare` is no order."""
    if len(items) < 2:
        return list(items)
    middle = len(items) // 2
    left, right = merge_sorted(items[:middle], compare), merge_sorted(items[middle:], compare)
    merged: list[Item] = []
    i = j = 0
    while i < len(left) and j < len(right):
        if compare(left[i], right[j]) <= 0:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return [*merged, *left[i:], *right[j:]]
