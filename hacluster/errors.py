"""Expected failures: a stable code for machines, typed fields, a text for people. Knows no gRPC.

Anything that is not an HaError is a bug of ours.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, dataclass_transform

if TYPE_CHECKING:
    from hacluster.vocabulary.ids import Term


class ErrorCode(StrEnum):
    """Stable names; `hacluster.rpc` maps each to a gRPC status."""

    INVALID_DOCUMENT = "invalid_document"
    INVALID_REQUEST = "invalid_request"
    NOT_FOUND = "not_found"
    STALE_TERM = "stale_term"
    NO_AUTHORITY = "no_authority"
    NO_QUORUM = "no_quorum"
    NO_DC = "no_dc"
    CONFLICT = "conflict"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    PERMISSION_DENIED = "permission_denied"
    UNAUTHENTICATED = "unauthenticated"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    UNAVAILABLE = "unavailable"


@dataclass_transform(eq_default=False, kw_only_default=True)
class HaError(Exception):
    """The root of expected failures. What a subclass declares with a type is a field, given by name.

    As in a dataclass, but no code is generated for each class: every program of ours loads all of them.
    """

    code = ErrorCode.INVALID_REQUEST
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._fields = (*cls._fields, *cls.__annotations__)

    def __init__(self, **fields: object) -> None:
        super().__init__()
        missing = [name for name in self._fields if name not in fields and not hasattr(self, name)]
        unknown = sorted(fields.keys() - set(self._fields))
        if missing or unknown:
            raise TypeError(f"{type(self).__name__}: fields missing: {missing}, unknown: {unknown}")
        self.__dict__.update(fields)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__name__}({fields})"


class InvalidDocument(HaError):
    """A file or text cannot be used.

    `line` counts from 1; 0 means the document as a whole. So does `column`; 0 means the line as a whole.
    """

    code = ErrorCode.INVALID_DOCUMENT
    source: str
    line: int
    what: str
    remedy: str = ""
    column: int = 0

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        place += f":{self.column}" if self.line and self.column else ""
        return f"{place}: {self.what}" + (f" ({self.remedy})" if self.remedy else "")


class InvalidDocuments(HaError):
    """All that is wrong with one or more files, at once."""

    code = ErrorCode.INVALID_DOCUMENT
    errors: tuple[InvalidDocument, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


class InvalidRequest(HaError):
    """The caller asked for something that cannot be; trying again does not help."""

    code = ErrorCode.INVALID_REQUEST
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return self.what + (f" ({self.remedy})" if self.remedy else "")


class NotFound(HaError):
    """There is no `kind` called `name`."""

    code = ErrorCode.NOT_FOUND
    kind: str
    name: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"there is no {self.kind} {self.name!r}" + (f" ({self.remedy})" if self.remedy else "")


class StaleTerm(HaError):
    """The caller's DC has been superseded: it must stand down, not try again."""

    code = ErrorCode.STALE_TERM
    term: Term
    current: Term

    def __str__(self) -> str:
        return f"term {self.term} is over, the current one is {self.current}"


class NoAuthority(HaError):
    """The activation gate is shut: this node may not start anything now."""

    code = ErrorCode.NO_AUTHORITY
    why: str

    def __str__(self) -> str:
        return f"no authority: {self.why}"


class NoQuorum(HaError):
    """The partition has no quorum; nothing was written (or read: `why`)."""

    code = ErrorCode.NO_QUORUM
    why: str = "nothing was changed"

    def __str__(self) -> str:
        return f"no quorum: {self.why}"


class NoDc(HaError):
    """There is no DC at the moment; try again in a second."""

    code = ErrorCode.NO_DC

    def __str__(self) -> str:
        return "there is no DC yet: try again in a moment"


class Conflict(HaError):
    """The document changed since the caller read it; nothing was written."""

    code = ErrorCode.CONFLICT
    what: str

    def __str__(self) -> str:
        return f"{self.what}: read it again and repeat the change"


class Unreachable(HaError):
    """A daemon does not answer. `remedy` says what to look at."""

    code = ErrorCode.UNREACHABLE
    who: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.who} does not answer" + (f": {self.remedy}" if self.remedy else "")


class Timeout(HaError):
    """Nothing came within the time allowed; the outcome is unknown."""

    code = ErrorCode.TIMEOUT
    what: str
    after_ms: int

    def __str__(self) -> str:
        return f"{self.what}: no answer within {self.after_ms} ms; whether it happened is unknown"


class PermissionDenied(HaError):
    """The caller is known but may not do this."""

    code = ErrorCode.PERMISSION_DENIED
    what: str

    def __str__(self) -> str:
        return f"permission denied: {self.what}"


class ResourceExhausted(HaError):
    """A bound of the daemon's is reached; nothing was done. Trying again later may help."""

    code = ErrorCode.RESOURCE_EXHAUSTED
    what: str

    def __str__(self) -> str:
        return f"too much at once: {self.what}"


class Unavailable(HaError):
    """The daemon cannot answer now (starting, stopping, disk failed)."""

    code = ErrorCode.UNAVAILABLE
    why: str

    def __str__(self) -> str:
        return f"not available: {self.why}"
