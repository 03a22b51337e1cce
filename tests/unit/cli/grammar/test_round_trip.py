"""What show prints loads to the same, whatever the values are; what is loaded in two steps is as in one."""

from __future__ import annotations

import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.grammar.definitions import parse_text
from cli.grammar.document import empty_cib
from cli.grammar.lexer import in_quotes, quoted, split_words
from cli.grammar.load import Mode, load
from cli.grammar.show import show
from cli.grammar.verify import Severity, verify
from crm.cib import codec
from crm.cib.model import Element

# What XML can hold, but for line ends, which a logical line cannot.
VALUES = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc", "Zl", "Zp")),
    max_size=20,
)
NAMES = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=8).map(
    lambda text: "n" + text
)
PAIRS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)


def loaded(text: str, cib: Element | None = None, mode: Mode = Mode.UPDATE) -> Element:
    return load(cib or empty_cib(), parse_text(text, "text"), source="text", mode=mode).cib


@given(VALUES)
def test_quoting_is_undone_by_reading(value: str) -> None:
    assert split_words(f"a={quoted(value)} b={in_quotes(value)}") == (f"a={value}", f"b={value}")


def words(pairs: dict[str, str]) -> str:
    return " ".join(f"{name}={quoted(value)}" for name, value in pairs.items())


@st.composite
def texts(draw: st.DrawFn) -> str:
    count = draw(st.integers(1, 6))
    lines = []
    for number in range(count):
        line = f"primitive p{number} Dummy params {words(draw(PAIRS))}"
        if draw(st.booleans()):
            line += f" meta {words(draw(PAIRS))}"
        for interval in draw(st.lists(st.integers(1, 99), unique=True, max_size=3)):
            line += f" op monitor interval={interval}s timeout=9s"
        lines.append(line)
    members = [f"p{number}" for number in range(count)]
    cut = draw(st.integers(0, count))
    if members[:cut]:
        lines.append(f"group g {' '.join(members[:cut])}")
    if members[cut:]:
        lines.append(f"clone c {members[cut]} meta {words(draw(PAIRS))}")
    top = (["g"] if members[:cut] else []) + (["c"] if members[cut:] else []) + members[cut + 1 :]
    if len(top) > 1:
        kind = draw(st.sampled_from(["Mandatory:", "Optional:", "Serialize:", ""]))
        sets = draw(st.sampled_from(["( {} ) {}", "[ {} ] {}", "{} {}", "[ {} sequential=true ] ( {} )"]))
        first, rest = draw(st.integers(1, len(top) - 1)), top
        lines.append(f"order o {kind} " + sets.format(" ".join(rest[:first]), " ".join(rest[first:])))
        lines.append("colocation k inf: " + sets.format(" ".join(rest[:first]), " ".join(rest[first:])))
    lines.append(f"property stonith-enabled=false {words(draw(PAIRS))}")
    return "\n".join(draw(st.permutations(lines)))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(texts())
def test_show_and_load_are_inverse(text: str) -> None:
    cib = loaded(text)
    shown = show(cib)
    assert "xml <" not in shown
    again = loaded(shown)
    assert show(again) == shown
    assert not [problem for problem in verify(cib) if problem.severity is Severity.ERROR]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(texts())
def test_loading_what_is_there_changes_nothing(text: str) -> None:
    cib = loaded(text)
    assert codec.digest(loaded(show(cib), cib)) == codec.digest(cib)
    assert codec.digest(loaded(show(cib), cib, Mode.PUSH)) == codec.digest(cib)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(texts())
def test_ids_are_unique(text: str) -> None:
    cib = loaded(text)
    found = [one.id for one in cib.walk() if one.id and one.tag not in ("resource_ref", "obj_ref")]
    assert len(found) == len(set(found))
