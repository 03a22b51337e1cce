"""Meta-data of our agents is what the OCF resource agent API 1.1 wants; and the schema can say no."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from agents import sdk
from agents.catalog import our_ocf_root
from agents.resources import MODULES

SCHEMA = etree.RelaxNG(etree.parse(str(Path(__file__).with_name("ocf-ra-api-1.1.rng"))))


@pytest.mark.parametrize("kind", sorted(MODULES))
def test_meta_data(kind: str) -> None:
    agent = sdk.load(kind)
    document = etree.fromstring(sdk.metadata(agent).encode())
    assert SCHEMA.validate(document), SCHEMA.error_log
    assert document.get("name") == kind
    for advertised in document.iterfind("actions/action"):
        name = advertised.get("name", "").replace("-", "_")
        assert name in ("meta_data", "validate_all") or callable(getattr(agent, name)), name
    executable = our_ocf_root() / "resource.d/hacluster" / kind
    assert executable.stat().st_mode & 0o111, "it is an executable, too"


def test_every_executable_is_an_agent() -> None:
    assert {path.name for path in (our_ocf_root() / "resource.d/hacluster").iterdir()} == set(MODULES)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<version>1.1</version>", "<version>1.0</version>"),
        ('type="string"', 'type="text"'),
        ('<action name="start"', '<action name="begin"'),
        ('timeout="20s"', 'timeout="soon"'),
        ("<parameters>", "<parameters><parameter name='x'/>"),
    ],
)
def test_the_schema_says_no(before: str, after: str) -> None:
    text = sdk.metadata(sdk.load("Dummy"))
    assert before in text
    assert not SCHEMA.validate(etree.fromstring(text.replace(before, after, 1).encode()))
