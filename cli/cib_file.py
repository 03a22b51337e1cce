"""A CIB in a file, plain or in bzip2, as Pacemaker stores what its scheduler was given (pe-input-N.bz2)."""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import Final

from crm.cib import codec
from crm.cib.model import Element
from hacluster.errors import InvalidDocument, InvalidRequest

SIZE_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of the text: some bytes of bzip2 can stand for gigabytes."""


def read_cib(path: str) -> Element:
    """Raises OSError, InvalidDocument, and InvalidRequest for what is no CIB."""
    return checked(codec.parse(unpacked(Path(path).read_bytes(), path), source=path), path)


def is_packed(data: bytes) -> bool:
    """Whether it is a bzip2 archive."""
    return data.startswith(b"BZh")


def unpacked(data: bytes, source: str) -> bytes:
    """The text. Raises InvalidDocument for a broken archive, or one that is too large."""
    if not is_packed(data):
        return data
    reader = bz2.BZ2Decompressor()
    try:
        text = reader.decompress(data, max_length=SIZE_BYTES_MAX)
    except OSError:
        raise InvalidDocument(source=source, line=0, what="it is no sound bzip2 file") from None
    if not reader.eof:
        what = "it is cut off, or unpacks to more than 256 MiB"
        raise InvalidDocument(source=source, line=0, what=what)
    return text


def checked(root: Element, source: str) -> Element:
    """The document, if it is a CIB. Raises InvalidRequest."""
    if root.tag == "transition_graph":
        raise InvalidRequest(
            what=f"{source} holds a transition graph, no <cib>",
            remedy="give the CIB that it was computed from",
        )
    if root.tag != "cib":
        raise InvalidRequest(what=f"{source} holds <{root.tag}>, no <cib>", remedy="give a whole CIB")
    return root
