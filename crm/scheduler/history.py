"""Entries of the operation history (<lrm_rsc_op>): reading one, and which of two is newer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cmp_to_key

from crm.cib.model import Element
from crm.scheduler import values
from hacluster.records import record


@record(frozen=True, kw_only=True)
class TransitionKey:
    """transition-key: which action of which transition by whom, and the result expected."""

    action: int
    transition: int
    expected_rc: int
    uuid: str


def parse_transition_key(text: str | None) -> TransitionKey | None:
    """None where the key is missing or malformed."""
    if text is None:
        return None
    parts = text.split(":", 3)
    if len(parts) != 4:
        return None
    try:
        return TransitionKey(
            action=int(parts[0]), transition=int(parts[1]), expected_rc=int(parts[2]), uuid=parts[3]
        )
    except ValueError:
        return None


def parse_transition_magic(text: str | None) -> TransitionKey | None:
    """The key within transition-magic ("STATUS:RC;KEY")."""
    if text is None:
        return None
    _, semicolon, key = text.partition(";")
    return parse_transition_key(key) if semicolon else None


def expected_rc(item: Element) -> int:
    """The result the cluster expected; -1 where it is not known."""
    key = parse_transition_key(item.attributes.get("transition-key"))
    return key.expected_rc if key is not None else -1


def interval_ms(item: Element) -> int:
    """The interval of the operation, in ms."""
    return max(0, values.integer(item.attributes.get("interval")))


def task_of(item: Element) -> str:
    """start, stop, monitor, ..."""
    return item.attributes.get("operation", "")


def is_probe(item: Element) -> bool:
    """A monitor that does not recur."""
    return task_of(item) == "monitor" and interval_ms(item) == 0


def status_of(item: Element) -> int | None:
    """op-status; None where it is no number."""
    return values.integer_or_none(item.attributes.get("op-status"))


def rc_of(item: Element) -> int | None:
    """rc-code; None where it is no number."""
    return values.integer_or_none(item.attributes.get("rc-code"))


def last_change_s(item: Element) -> int | None:
    """last-rc-change, in seconds since 1970; None where it is missing."""
    return values.integer_or_none(item.attributes.get("last-rc-change"))


def compare(left: Element, right: Element) -> int:
    """-1 if `left` is older, 1 if it is newer, 0 if that cannot be said."""
    if left is right:
        return 0
    node_a, node_b = left.attributes.get("on_node"), right.attributes.get("on_node")
    same_node = (node_a or "").lower() == (node_b or "").lower()
    if same_node and left.id == right.id:
        return 0
    call_a = values.integer(left.attributes.get("call-id"), -1)
    call_b = values.integer(right.attributes.get("call-id"), -1)
    if call_a == -1 and call_b == -1:
        return 0
    if same_node and call_a >= 0 and call_a < call_b:
        return -1
    if same_node and call_b >= 0 and call_a > call_b:
        return 1
    if call_a >= 0 and call_b >= 0 and (not same_node or call_a == call_b):
        return _compare_changes(left, right)
    return _compare_pending(left, right, call_a)


def _compare_changes(left: Element, right: Element) -> int:
    a, b = last_change_s(left), last_change_s(right)
    if a is None or b is None or a == b:
        return 0
    return -1 if a < b else 1


def _compare_pending(left: Element, right: Element, call_a: int) -> int:
    a = parse_transition_magic(left.attributes.get("transition-magic"))
    b = parse_transition_magic(right.attributes.get("transition-magic"))
    if a is None or b is None:
        return 0
    if a.uuid != b.uuid or a.transition == b.transition:
        return 1 if call_a == -1 else -1
    if a.transition == -1 or b.transition == -1:
        return 1 if a.transition == -1 else -1
    return -1 if a.transition < b.transition else 1


_BY_AGE = cmp_to_key(compare)


def by_age(items: Iterable[Element]) -> list[Element]:
    """Oldest first; entries that compare equal stay in reverse document order."""
    backwards = list(items)[::-1]
    if all(one.attributes.get("call-id", "-1") != "-1" for one in backwards):
        return sorted(backwards, key=_BY_AGE)
    return _merged(backwards)


def _merged(items: list[Element]) -> list[Element]:
    """Sorted by merging halves, the second of them the larger.

    While a result is still to come an entry can be older than one that is older than a third that is older
    than the first: then the order depends on who is compared with whom, and this is what GLib's lists do.
    """
    if len(items) < 2:
        return items
    middle = len(items) // 2
    left, right = _merged(items[:middle]), _merged(items[middle:])
    found: list[Element] = []
    while left and right:
        found.append((right if compare(left[0], right[0]) > 0 else left).pop(0))
    return found + left + right


def is_newer(left: Element, right: Element) -> bool:
    """True if `left` is certainly newer than `right`."""
    return compare(left, right) > 0
