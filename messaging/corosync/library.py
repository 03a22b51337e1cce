"""libcpg and libquorum of corosync 3 through ctypes: one handle each, callbacks to plain functions.

The shapes of structures and functions are those of corosync's installed headers (cpg.h, quorum.h).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

from hacluster.errors import ResourceExhausted, Unavailable

OK: Final = 1
TRY_AGAIN: Final = 6
_DISPATCH_ALL: Final = 2
_TYPE_AGREED: Final = 2
_MODEL_V1: Final = 1
_INITIAL_RING: Final = 1
_TRACK_CURRENT_AND_CHANGES: Final = 3
_NAME_MAX: Final = 128
_REASON_NODEDOWN: Final = 3
_ERRORS: Final = {2: "library", 4: "no corosync to connect to", 5: "timeout", 11: "access is denied"}

_Handle = ctypes.c_uint64


class _Name(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint32), ("value", ctypes.c_char * _NAME_MAX))


class _Address(ctypes.Structure):
    _fields_ = (("nodeid", ctypes.c_uint32), ("pid", ctypes.c_uint32), ("reason", ctypes.c_uint32))


class _RingId(ctypes.Structure):
    _fields_ = (("nodeid", ctypes.c_uint32), ("seq", ctypes.c_uint64))


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_DELIVER = ctypes.CFUNCTYPE(
    None,
    _Handle,
    ctypes.POINTER(_Name),
    ctypes.c_uint32,
    ctypes.c_uint32,
    ctypes.c_void_p,
    ctypes.c_size_t,
)
_CHANGE = ctypes.CFUNCTYPE(
    None,
    _Handle,
    ctypes.POINTER(_Name),
    ctypes.POINTER(_Address),
    ctypes.c_size_t,
    ctypes.POINTER(_Address),
    ctypes.c_size_t,
    ctypes.POINTER(_Address),
    ctypes.c_size_t,
)
_RING = ctypes.CFUNCTYPE(None, _Handle, _RingId, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32))
_QUORUM = ctypes.CFUNCTYPE(
    None, _Handle, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)
)


class _Model(ctypes.Structure):
    _fields_ = (
        ("model", ctypes.c_int),
        ("deliver", _DELIVER),
        ("change", _CHANGE),
        ("ring", _RING),
        ("flags", ctypes.c_uint),
    )


class _QuorumCallbacks(ctypes.Structure):
    _fields_ = (("quorum", _QUORUM),)


def load(name: str) -> ctypes.CDLL:
    """Raises Unavailable when it is not installed."""
    try:
        return ctypes.CDLL(name, use_errno=True)
    except OSError as error:
        raise Unavailable(why=f"{name} cannot be loaded ({error}): install corosync's libraries") from None


def _check(what: str, code: int) -> None:
    if code == TRY_AGAIN:
        raise ResourceExhausted(what=f"corosync is busy ({what})")
    if code != OK:
        raise Unavailable(why=f"corosync: {what} failed: {_ERRORS.get(code, f'error {code}')}")


class Group:
    """A process group. Callbacks come while `dispatch` runs. Raises Unavailable, ResourceExhausted."""

    def __init__(
        self,
        name: str,
        *,
        heard: Callable[[int, int, bytes], None],
        changed: Callable[[tuple[tuple[int, int], ...], tuple[int, ...]], None],
        ring: Callable[[tuple[int, int], tuple[int, ...]], None],
    ) -> None:
        """`heard(node, pid, message)`, `changed(members, nodes whose process died)`, `ring(id, nodes)`."""
        self._library = load("libcpg.so.4")
        self._handle, self._name = _Handle(), _Name(len(name), name.encode())

        def deliver(_h: int, _n: Any, node: int, pid: int, message: int, length: int) -> None:
            heard(node, pid, ctypes.string_at(message, length))

        def change(
            _h: int, _n: Any, members: Any, count: int, left: Any, gone: int, _joined: Any, _j: int
        ) -> None:
            now = tuple(sorted((members[i].nodeid, members[i].pid) for i in range(count)))
            died = tuple(left[i].nodeid for i in range(gone) if left[i].reason != _REASON_NODEDOWN)
            changed(now, died)

        def ringed(_h: int, ring_id: _RingId, count: int, nodes: Any) -> None:
            ring((ring_id.seq, ring_id.nodeid), tuple(sorted(nodes[i] for i in range(count))))

        # The library keeps the addresses: these objects have to live as long as the handle.
        self._model = _Model(_MODEL_V1, _DELIVER(deliver), _CHANGE(change), _RING(ringed), _INITIAL_RING)
        code = self._library.cpg_model_initialize(
            ctypes.byref(self._handle), _MODEL_V1, ctypes.byref(self._model), None
        )
        _check("cpg_model_initialize", code)

    def fileno(self) -> int:
        """Readable when there is something to dispatch."""
        number = ctypes.c_int()
        _check("cpg_fd_get", self._library.cpg_fd_get(self._handle, ctypes.byref(number)))
        return number.value

    def join(self) -> None:
        """From now on messages and changes come."""
        _check("cpg_join", self._library.cpg_join(self._handle, ctypes.byref(self._name)))

    def leave(self) -> None:
        """In order."""
        _check("cpg_leave", self._library.cpg_leave(self._handle, ctypes.byref(self._name)))

    def local_node(self) -> int:
        """Asks corosync for our node id: a sign of life of it, too."""
        number = ctypes.c_uint()
        _check("cpg_local_get", self._library.cpg_local_get(self._handle, ctypes.byref(number)))
        return number.value

    def say(self, message: bytes) -> None:
        """To all members of the group, us included, in one order for all."""
        buffer = ctypes.create_string_buffer(message, len(message))
        vector = _Vector(ctypes.addressof(buffer), len(message))
        code = self._library.cpg_mcast_joined(self._handle, _TYPE_AGREED, ctypes.byref(vector), 1)
        _check("cpg_mcast_joined", code)

    def dispatch(self) -> None:
        """Hand on what has come."""
        code = self._library.cpg_dispatch(self._handle, _DISPATCH_ALL)
        if code != TRY_AGAIN:
            _check("cpg_dispatch", code)

    def close(self) -> None:
        """The group sees that we are gone."""
        self._library.cpg_finalize(self._handle)


class Votes:
    """Whether this partition is quorate, and of which ring that is said. Raises Unavailable."""

    def __init__(self, told: Callable[[bool, int], None]) -> None:
        self._library = load("libquorum.so.5")
        self._handle, kind = _Handle(), ctypes.c_uint32()

        def quorum(_h: int, quorate: int, ring_seq: int, _count: int, _nodes: Any) -> None:
            told(bool(quorate), ring_seq)

        self._callbacks = _QuorumCallbacks(_QUORUM(quorum))
        code = self._library.quorum_initialize(
            ctypes.byref(self._handle), ctypes.byref(self._callbacks), ctypes.byref(kind)
        )
        _check("quorum_initialize", code)
        if not kind.value:
            raise Unavailable(
                why="corosync has no quorum provider: set provider: corosync_votequorum in corosync.conf"
            )

    def fileno(self) -> int:
        """Readable when there is something to dispatch."""
        number = ctypes.c_int()
        _check("quorum_fd_get", self._library.quorum_fd_get(self._handle, ctypes.byref(number)))
        return number.value

    def track(self) -> None:
        """Now, and at each change."""
        _check(
            "quorum_trackstart",
            self._library.quorum_trackstart(self._handle, ctypes.c_uint(_TRACK_CURRENT_AND_CHANGES)),
        )

    def dispatch(self) -> None:
        """Hand on what has come."""
        code = self._library.quorum_dispatch(self._handle, _DISPATCH_ALL)
        if code != TRY_AGAIN:
            _check("quorum_dispatch", code)

    def close(self) -> None:
        """No more of it."""
        self._library.quorum_finalize(self._handle)
