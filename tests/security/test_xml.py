"""Hostile documents: refused with a line, in less than a second and 200 MiB; or read as text and no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crm.cib import codec, schema
from hacluster.errors import InvalidDocument

ROOT = Path(__file__).parents[2]
CPU_S = 1.0
MEMORY_MIB = 200

_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE = {
    "laughs": f"""b'''<!DOCTYPE cib [<!ENTITY l0 "ha">{_LAUGHS}]>\\n<cib>&l9;</cib>'''""",
    "external": """b'<!DOCTYPE cib [<!ENTITY e SYSTEM "file:///etc/passwd">]><cib>&e;</cib>'""",
    "parameter": """b'<!DOCTYPE cib [<!ENTITY % e SYSTEM "http://127.0.0.1:9/x"> %e;]><cib/>'""",
    "dtd": """b'<!DOCTYPE cib SYSTEM "http://127.0.0.1:9/x.dtd"><cib/>'""",
    "entity": "b'<cib>&e;</cib>'",
    "include": """b'<cib><xi:include href="file:///etc/passwd"/></cib>'""",
    "nesting": "b'<a>' * 10_000 + b'</a>' * 10_000",
    "attributes": """b'<a ' + b' '.join(b'a%d="1"' % n for n in range(1_000_000)) + b'/>'""",
    "fewer attributes": """b'<a ' + b' '.join(b'a%d="1"' % n for n in range(200_000)) + b'/>'""",
    "one attribute twice": """b'<a b="1" b="2"/>'""",
    "no UTF-8": r"""b'<a b="\xff\xfe"/>'""",
    "a surrogate in UTF-8": r"""b'<a b="\xed\xa0\x80"/>'""",
    "NUL": r"""b'<a b="\0"/>'""",
    "a NUL as a reference": "b'<a b=\"&#0;\"/>'",
    "100 MiB": "bytes(100 << 20)",
    "a comment of 30 MiB": "b'<a><!--' + bytes(b'x') * (30 << 20) + b'--></a>'",
}
SCRIPT = """
import resource, sys
from crm.cib import codec
from hacluster.errors import InvalidDocument
made = {made}
had = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (had + {room} * 2**20,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
try:
    codec.parse(made, source="theirs")
except InvalidDocument as refused:
    print(refused)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)
"""


@pytest.mark.parametrize("what", HOSTILE)
def test_it_is_refused_soon_with_its_place(what: str) -> None:
    """In a process of its own, whose address space is what it has with the document, and 200 MiB."""
    script = SCRIPT.format(made=HOSTILE[what], room=MEMORY_MIB)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert not done.stderr
    refused, spent_s = done.stdout.splitlines()
    assert refused.startswith("theirs")
    assert "root:" not in refused
    assert float(spent_s) < CPU_S


def test_what_is_no_more_than_its_text() -> None:
    """An inclusion with a declared prefix is an element like another: nothing is opened for it."""
    space = 'xmlns:x="http://www.w3.org/2001/XInclude"'
    text = f'<cib><x:include {space} href="file:///etc/passwd" parse="text"/></cib>'
    assert "root:" not in codec.render(codec.parse(text))
    assert "/etc/passwd" in codec.render(codec.parse(text))


def test_ids_that_occur_twice() -> None:
    resources = '<primitive id="a" class="ocf" provider="heartbeat" type="Dummy"/>' * 2
    found = schema.refusal(codec.parse(f"<configuration><resources>{resources}</resources></configuration>"))
    assert "the id is used by <primitive> too" in found


def test_a_large_value_that_is_allowed() -> None:
    text = "x" * (codec.TAG_BYTES_MAX - 100)
    assert codec.parse(f'<a b="{text}"/>').get("b") == text
    with pytest.raises(InvalidDocument, match="theirs:2"):
        codec.parse(f'<a>\n<b c="{text * 2}"/></a>', source="theirs")
