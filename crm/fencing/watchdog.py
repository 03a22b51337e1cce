"""A lost node's own watchdog as what confirms that it is dead (cluster-protocol.md, 11.6 d). Pure.

The node had said what guards it (`#watchdog`: kind and timeout in ms). It feeds that no longer than its lease
lasted, so that it is dead when twice the timeout is over; `fencing-watchdog-timeout` says how long is waited.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from crm.cib.document import cluster_options
from crm.cib.model import Element
from crm.fencing.devices import Device
from hacluster.digits import is_count
from hacluster.durations import parse_ms
from hacluster.vocabulary.agent import AgentName

ATTRIBUTE: Final = "#watchdog"
WATCHDOG: Final = Device(
    id="watchdog", agent=AgentName("stonith", "", "watchdog"), parameters={"pcmk_host_check": "none"}
)
HARDWARE: Final = frozenset({"hardware"})
SOFTWARE: Final = frozenset({"software", "softdog"})
_TRUE: Final = frozenset({"true", "yes", "on", "1", "y"})


def waits_ms(configuration: Element, attributes: Mapping[str, str]) -> int:
    """How long after it left the view the node is dead for sure; 0: its watchdog cannot say so.

    A negative fencing-watchdog-timeout means twice the node's own timeout, as in Pacemaker.
    """
    options = cluster_options(configuration)
    kind, _, text = attributes.get(ATTRIBUTE, "").partition(" ")
    trusted = HARDWARE
    if options.get("trust-software-watchdog", "").lower() in _TRUE:
        trusted = HARDWARE | SOFTWARE
    if kind not in trusted or not is_count(text) or int(text) == 0:
        return 0
    least_ms = 2 * int(text)
    given = options.get("fencing-watchdog-timeout", options.get("stonith-watchdog-timeout", "0")).strip()
    if given.startswith("-"):
        return least_ms
    try:
        wanted_ms = parse_ms(given)
    except ValueError:
        return 0
    return wanted_ms if wanted_ms >= least_ms else 0


def for_scheduler(configuration: Element, guarded: bool) -> Element:
    """The configuration with have-watchdog, if watchdogs can confirm (Pacemaker sets it itself, too)."""
    options = cluster_options(configuration)
    if not guarded or options.get("have-watchdog", "").lower() in _TRUE:
        return configuration
    section = configuration.child("crm_config") or Element("crm_config")
    pair = Element("nvpair", {"id": "hacluster-have-watchdog", "name": "have-watchdog", "value": "true"})
    group = Element("cluster_property_set", {"id": "hacluster-guarded"}, (pair,))
    return configuration.with_child(section.with_children((group, *section.children)))
