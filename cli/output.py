"""Answers for programs: JSON with a named, versioned form, and the same as XML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

VERSION: Final = 1


def document(name: str, data: Mapping[str, Any]) -> str:
    """JSON: the data with `"format": "hacluster.NAME/1"` in front."""
    return json.dumps({"format": f"hacluster.{name}/{VERSION}", **data}, indent=2, ensure_ascii=False)
