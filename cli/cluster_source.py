"""The running cluster as a source of the CIB: writes refuse what changed meanwhile."""

from __future__ import annotations

from cli.client import Client
from cli.workspace import Snapshot, digest_of
from crm.cib import codec
from crm.cib.model import Element
from hacluster.errors import Conflict, ErrorCode, HaError, InvalidRequest, NoQuorum
from hacluster.v1 import crm_pb2


class ClusterSource:
    """Reads and writes through this node's ha-crm. `force`: also without quorum."""

    name = "the cluster"

    def __init__(self, client: Client, *, force: bool = False) -> None:
        self._client = client
        self._force = force

    def read(self) -> Snapshot:
        """The CIB as the DC has it. Raises what the daemon raises."""
        xml, digest = self._client.query_cib()
        cib = codec.parse(xml, source="the cluster's CIB")
        return Snapshot(cib=cib, digest=digest or digest_of(cib))

    def write(self, cib: Element, expected_digest: str, client: str) -> Snapshot:
        """Write the configuration. Raises Conflict, NoQuorum, InvalidRequest with the daemon's reason."""
        configuration = cib.child("configuration")
        assert configuration is not None
        try:
            reply = self._client.write_cib(
                codec.render(configuration).encode(), expected_digest, client, force=self._force
            )
        except HaError as error:
            if error.code is ErrorCode.CONFLICT:
                raise Conflict(
                    what=f"the configuration was changed by somebody else meanwhile ({error})"
                ) from None
            raise
        if reply.outcome != crm_pb2.WriteReply.OUTCOME_OK:
            raise _refusal(reply.reason)
        return self.read()


def _refusal(reason: str) -> HaError:
    lowered = reason.lower().replace("nothing was changed", "")
    if "quorum" in lowered:
        return NoQuorum()
    if "digest" in lowered or "conflict" in lowered or "changed" in lowered:
        return Conflict(what=f"the configuration was changed by somebody else meanwhile ({reason})")
    return InvalidRequest(what=f"the cluster refused the change: {reason or 'no reason given'}")
