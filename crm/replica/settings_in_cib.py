"""The few options of the configuration that the replicated CIB itself obeys."""

from __future__ import annotations

from crm.cib.document import cluster_options
from crm.cib.model import Element

_FALSE = ("false", "off", "no", "n", "0")


def fencing_enabled(configuration: Element) -> bool:
    """`stonith-enabled` (`fencing-enabled`); true unless it is set to false."""
    options = cluster_options(configuration)
    value = options.get("fencing-enabled", options.get("stonith-enabled", "true"))
    return value.lower() not in _FALSE


def merges_disjoint(configuration: Element) -> bool:
    """`cib-merge` is `disjoint`: changes that had to give way are made again where nothing is against it."""
    return cluster_options(configuration).get("cib-merge", "report").lower() == "disjoint"


def ignores_quorum(configuration: Element) -> bool:
    """Whether `no-quorum-policy` is `ignore`."""
    return cluster_options(configuration).get("no-quorum-policy") == "ignore"
