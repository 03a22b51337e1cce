"""Finds the line of a key in a TOML text, for error messages: tomllib does not keep positions."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.\"-]+)\s*\]?\]")


def line_of(text: str, table: str, index: int, key: str) -> int:
    """The line (from 1) of `key` in the index-th `table`; the table's own line without key; 0 if absent."""
    here, seen, header_line = "", -1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        if header:
            here = header[1]
            if here == table:
                seen += 1
                if seen == index:
                    header_line = number
        elif (
            key
            and here == table
            and (not table or seen == index)
            and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line)
        ):
            return number
    return header_line
