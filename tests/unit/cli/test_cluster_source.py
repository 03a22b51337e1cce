"""What a refused write is called: only a conflict is worth another try."""

from __future__ import annotations

import pytest

from cli.cluster_source import ClusterSource, refusal
from cli.context import UsageError
from cli.options import take_options
from cli.render.reminders import _pending
from cli.workspace import Confirm
from crm.cib import codec, objects
from crm.cib.model import Element, element
from crm.confirmation import Pending, pending_in, secret_free, with_pending
from hacluster.errors import ErrorCode, InvalidRequest
from hacluster.v1 import crm_pb2


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
    error = refusal(reason)
    assert error.code is code
    assert code is ErrorCode.NO_QUORUM or reason in str(error)


class FakeClient:
    """Hands out one CIB, takes one."""

    def __init__(self, configuration: Element) -> None:
        self.configuration = configuration

    def query_cib(self, read: str = "") -> crm_pb2.QueryCibReply:
        self.read = read
        xml = codec.render(element("cib", None, self.configuration)).encode()
        return crm_pb2.QueryCibReply(xml=xml, from_dc=read != "local", age_ms=1_250)

    def write_cib(self, xml: bytes, _digest: str, _client: str, *, force: bool) -> crm_pb2.WriteReply:
        self.configuration = codec.parse(xml)
        return crm_pb2.WriteReply(outcome=crm_pb2.WriteReply.OUTCOME_OK)


PLAIN = element("configuration", None, *map(element, ("crm_config", "nodes", "resources", "constraints")))


def test_how_it_is_read_and_how_old_a_copy_is() -> None:
    said: list[str] = []
    client = FakeClient(PLAIN)
    ClusterSource(client, how="quorum", said=said.append).read()  # type: ignore[arg-type]  # a fake
    assert (client.read, said) == ("quorum", [])
    ClusterSource(client, how="local", said=said.append).read()  # type: ignore[arg-type]  # a fake
    assert client.read == "local"
    assert said == ["this node's copy of the CIB; it has heard no DC for 1.2 s"]
    assert take_options(["--read=quorum"]).read == "quorum"
    assert take_options(["--read", "local"]).read == "local"
    with pytest.raises(UsageError, match="local, dc, quorum"):
        take_options(["--read=leader"])


def test_a_commit_whose_undoing_failed_stands_until_somebody_ends_it() -> None:
    undo = objects.encode(())
    failed = Pending(id="1", until_s=1, within_ms=1, by="eve", undo=undo, failed="g is needed")
    client = FakeClient(with_pending(PLAIN, failed))
    source = ClusterSource(client)  # type: ignore[arg-type]
    snapshot = source.read()
    with pytest.raises(InvalidRequest, match="of eve could not be undone"):
        source.write(snapshot.cib, "", "me", confirm=Confirm(within_ms=1))
    source.write(snapshot.cib, "", "me")
    assert pending_in(client.configuration) == failed
    said = list(_pending(element("cib", None, client.configuration), 0))
    assert len(said) == 1
    assert "FAILED" in said[0]
    assert "g is needed" in said[0]
    assert source.settle(keep=False, client="me") == failed
    assert client.configuration == PLAIN


def test_who_does_not_see_the_way_back_cannot_go_it() -> None:
    client = FakeClient(
        secret_free(with_pending(PLAIN, Pending(id="1", until_s=1, within_ms=1, by="eve", undo="x")))
    )
    source = ClusterSource(client)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="not shown"):
        source.settle(keep=False, client="me")
    source.settle(keep=True, client="me")
    assert client.configuration == PLAIN
