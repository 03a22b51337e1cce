"""Files of a service in a folder that another user may write to: root's ha-lrm in hacluster's /run/hacluster.

Whoever may write to the folder may put something else in a file's place. So no link is followed, and only a
regular file that belongs to root or to us is taken.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Container, Iterable
from pathlib import Path

from hacluster.errors import Unavailable


def open_owned(path: Path, flags: int, mode: int = 0o600, *, owners: Iterable[int] = ()) -> int:
    """A descriptor, as `os.open` gives it; `owners` are welcome, too.

    Raises FileNotFoundError; Unavailable when it is not ours.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refusal(path, error.strerror or str(error)) from None
    what = _objection(os.fstat(descriptor), {0, os.geteuid(), *owners}, written=flags & os.O_ACCMODE != 0)
    if what:
        os.close(descriptor)
        raise _refusal(path, what)
    return descriptor


def _objection(status: os.stat_result, owners: Container[int], *, written: bool) -> str:
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if status.st_uid not in owners:
        return f"it belongs to uid {status.st_uid}, neither root nor us"
    if written and status.st_nlink > 1:
        return "it has another name elsewhere"
    return ""


def _refusal(path: Path, what: str) -> Unavailable:
    return Unavailable(
        why=f"{path}: {what} (who put it there may write to {path.parent}; then: rm {path}, and start again)"
    )


def read_owned(path: Path, limit: int = 4_096) -> bytes | None:
    """At most so many bytes of it; None when there is no such file of ours."""
    try:
        descriptor = open_owned(path, os.O_RDONLY)
    except (FileNotFoundError, Unavailable):
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)


def put_owned(path: Path, data: bytes, mode: int = 0o644, *, keep: bool = False) -> None:
    """Under its name it is whole. What has the name is replaced, and not written to; kept with `keep`.

    Raises OSError.
    """
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(scratch, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if keep:
            os.link(scratch, path)
        else:
            scratch.rename(path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink(missing_ok=True)
