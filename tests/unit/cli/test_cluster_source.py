"""What a refused write is called: only a conflict is worth another try."""

from __future__ import annotations

import pytest

from cli.cluster_source import _refusal
from hacluster.errors import ErrorCode


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("no quorum: nothing was changed", ErrorCode.NO_QUORUM),
        ("the digest is another one", ErrorCode.CONFLICT),
        ("the configuration has changed", ErrorCode.CONFLICT),
        ("there is no DC: nothing was changed", ErrorCode.INVALID_REQUEST),
        ("the other node is not confirmed fenced: nothing was changed", ErrorCode.INVALID_REQUEST),
    ],
)
def test_only_a_conflict_is_called_one(reason: str, code: ErrorCode) -> None:
    error = _refusal(reason)
    assert error.code is code
    assert code is ErrorCode.NO_QUORUM or reason in str(error)
