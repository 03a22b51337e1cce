"""Whatever the text, it is read or refused with a place: never an exception of another kind."""

from __future__ import annotations

import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.grammar.definitions import KEYWORDS, parse_text
from cli.grammar.document import empty_cib
from cli.grammar.load import load
from cli.grammar.show import show
from cli.grammar.verify import verify
from crm.cib import haresources
from hacluster import ha_cf
from hacluster.errors import HaError

WORDS = st.one_of(
    st.sampled_from(
        [
            *KEYWORDS,
            *(
                "a",
                "b",
                "g",
                "c",
                "x:Promoted",
                "100:",
                "inf:",
                "-inf:",
                "node1",
                "rule",
                "date",
                "in",
                "spec",
            ),
            *(
                "params",
                "meta",
                "op",
                "monitor",
                "interval=10s",
                "$id=q",
                "$id-ref=a",
                "@a",
                "(",
                ")",
                "[",
                "]",
                "{",
                "}",
            ),
            *(
                "and",
                "or",
                "eq",
                "defined",
                "k=v",
                "k=",
                "=v",
                "Dummy",
                "ocf:x:y",
                "stonith:z",
                "docker",
                "network",
            ),
            *(
                "port-mapping",
                "primitive",
                "to",
                "select",
                "attributes",
                "description=d",
                "xpath:/cib",
                "read",
            ),
            *(
                "meta:a:b",
                "\\\n",
                "#note\n",
                "\n",
                "'",
                '"',
                "Mandatory:",
                "a:start",
                "_rsc_set_",
                "symmetrical=x",
            ),
        ]
    ),
    st.text(max_size=6),
)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(WORDS, st.sampled_from([" ", "\n"])), max_size=25))
def test_configurations(parts: list[tuple[str, str]]) -> None:
    text = "".join(word + blank for word, blank in parts)
    with contextlib.suppress(HaError):
        loaded = load(empty_cib(), parse_text(text, "text"), source="text")
        show(loaded.cib)
        verify(loaded.cib)


HA_CF_WORDS = st.one_of(
    st.sampled_from(
        [
            *(
                "node",
                "n1",
                "keepalive",
                "deadtime",
                "2",
                "500ms",
                "bcast",
                "eth0",
                "mcast",
                "225.0.0.1",
                "694",
                "1",
                "0",
            ),
            *(
                "ucast",
                "10.0.0.1",
                "serial",
                "/dev/ttyS0",
                "ping",
                "ping_group",
                "auto_failback",
                "on",
                "crm",
                "#",
                "\n",
            ),
        ]
    ),
    st.text(max_size=5),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(HA_CF_WORDS, max_size=25))
def test_ha_cf(words: list[str]) -> None:
    with contextlib.suppress(HaError):
        ha_cf.convert(" ".join(words), resolve=lambda _name: ("10.0.0.9",))


RESOURCE_WORDS = st.one_of(
    st.sampled_from(
        [
            "n1",
            "n2",
            "10.0.0.1",
            "10.0.0.1/24/eth0",
            "IPaddr::x",
            "Filesystem::/d::/m::ext4",
            "httpd",
            "\\\n",
            "\n",
            "OCF::a::b",
        ]
    ),
    st.text(max_size=8),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(RESOURCE_WORDS, max_size=12))
def test_haresources(words: list[str]) -> None:
    options = haresources.Options(nodes=((1, "n1"), (2, "n2")), auto_failback=True, stonith=False)
    with contextlib.suppress(HaError):
        made = haresources.convert(" ".join(words), options, haresources.Installed())
        show(made.cib)
