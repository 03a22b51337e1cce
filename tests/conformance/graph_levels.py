"""How far a transition graph agrees with a reference: same actions, same inputs, same contents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from crm.cib.model import Element
from crm.transition.graph import GraphAction, TransitionGraph

_IGNORED = frozenset({"id", "transition_id", "crm_feature_set", "batch-limit"})

Identity = tuple[str, str, str, str]


def identity(action: GraphAction) -> Identity:
    """Element name, operation, key and node."""
    node = "" if action.kind.value == "pseudo_event" else action.node
    return (action.kind.value, action.operation, action.key, node)


def _kept(values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in values.items() if name not in _IGNORED))


def _shape(element: Element) -> tuple[object, ...]:
    inner = tuple(sorted(map(_shape, element.children), key=repr))
    return (element.tag, tuple(sorted(element.attributes.items())), inner)


def actions(graph: TransitionGraph) -> Counter[Identity]:
    """Level 1: what is done."""
    return Counter(map(identity, graph.actions()))


def edges(graph: TransitionGraph) -> Counter[tuple[Identity, Identity]]:
    """Level 2: what directly waits for what."""
    by_id = {action.id: action for action in (*graph.unwritten, *graph.actions())}
    found: Counter[tuple[Identity, Identity]] = Counter()
    for synapse in graph.synapses:
        for action in synapse.actions:
            for number in set(synapse.inputs):
                if number in by_id:
                    found[(identity(by_id[number]), identity(action))] += 1
    return found


def contents(graph: TransitionGraph) -> Counter[tuple[object, ...]]:
    """Level 3: attributes, parameters, digests, children, priorities."""
    found: Counter[tuple[object, ...]] = Counter()
    for synapse in graph.synapses:
        for action in synapse.actions:
            children = tuple(sorted(map(_shape, action.children), key=repr))
            found[
                (identity(action), _kept(action.xml), _kept(action.attributes), children, synapse.priority)
            ] += 1
    found[("head", _kept(graph.xml))] += 1
    return found
