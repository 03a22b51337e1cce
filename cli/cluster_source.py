"""The running cluster as a source of the CIB: writes refuse what changed meanwhile."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from cli.client import Client
from cli.grammar.document import configuration_of
from cli.workspace import Confirm, Snapshot, digest_of
from crm import tickets
from crm.cib import codec, objects
from crm.cib.model import Element
from crm.confirmation import Pending, pending_in, rolled_back, with_pending, without
from hacluster.errors import Conflict, ErrorCode, HaError, InvalidRequest, NoQuorum
from hacluster.v1 import crm_pb2


class ClusterSource:
    """Reads and writes through this node's ha-crm. `force`: also without quorum.

    `how` says where to read: local, dc, quorum (cluster-protocol.md 9.3); empty: the DC's, or what there is.
    `said` takes what people should know of a read.
    """

    name = "the cluster"

    def __init__(
        self,
        client: Client,
        *,
        force: bool = False,
        how: str = "",
        said: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client, self._how, self._said = client, how, said
        self._force = force
        self._read: Element | None = None

    def read(self) -> Snapshot:
        """The CIB as the DC has it, or as `how` says. Raises what the daemon raises."""
        reply = self._client.query_cib(self._how)
        self._tell(reply)
        cib = codec.parse(reply.xml, source="the cluster's CIB")
        self._read = configuration_of(cib)
        shown = cib.mapped(
            lambda part: tickets.without(without(part)) if part.tag == "configuration" else part
        )
        return Snapshot(cib=shown, digest=reply.digest or digest_of(cib))

    def _tell(self, reply: crm_pb2.QueryCibReply) -> None:
        """How old a copy is that is not the DC's; what a DC without a quorum says of its own."""
        if not reply.from_dc:
            self._said(f"this node's copy of the CIB; it has heard no DC for {reply.age_ms / 1_000:.1f} s")
        elif reply.reason and self._how == "dc":
            self._said(reply.reason)
        elif self._how == "local":
            self._said("this node is the DC: its copy is what it has committed")

    def pending(self) -> Pending | None:
        """The commit that waits for its confirmation."""
        return pending_in(configuration_of(codec.parse(self._client.query_cib().xml)))

    def write(
        self, cib: Element, expected_digest: str, client: str, *, confirm: Confirm | None = None
    ) -> Snapshot:
        """Write the configuration. Raises Conflict, NoQuorum, InvalidRequest with the daemon's reason."""
        configuration = self._with_confirmation(configuration_of(cib), client, confirm)
        self._send(configuration, expected_digest, client)
        return self.read()

    def _send(self, configuration: Element, expected_digest: str, client: str) -> None:
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
            raise refusal(reply.reason)

    def _with_confirmation(self, configuration: Element, client: str, confirm: Confirm | None) -> Element:
        """What has to be written: with a new condition, or with the one that stands there."""
        present = self._read
        if present is None:
            self.read()
            present = self._read
        assert present is not None
        configuration = tickets.carried(present, configuration)
        waiting = pending_in(present)
        if waiting is not None and confirm is not None:
            state = "could not be undone" if waiting.failed else "waits for its confirmation"
            raise InvalidRequest(
                what=f"a commit of {waiting.by} {state}",
                remedy="`hacli confirm` keeps it, `hacli rollback` undoes it; then commit again",
            )
        if waiting is not None:
            return with_pending(configuration, waiting)
        if confirm is None:
            return configuration
        undo = objects.encode(objects.undo_of(present, configuration))
        return with_pending(
            configuration,
            Pending(
                id=secrets.token_hex(8),
                until_s=int(time.time()) + -(-confirm.within_ms // 1_000),
                within_ms=confirm.within_ms,
                by=client,
                undo=undo,
                guards=confirm.guards,
            ),
        )

    def settle(self, *, keep: bool, client: str) -> Pending:
        """Confirm the commit that waits, or undo it now. Raises InvalidRequest without one."""
        reply = self._client.query_cib()
        present = configuration_of(codec.parse(reply.xml, source="the cluster's CIB"))
        waiting = pending_in(present)
        if waiting is None:
            raise InvalidRequest(what="no commit waits for a confirmation")
        if not keep and not waiting.undo:
            raise InvalidRequest(
                what="the way back is not shown to whom access lists limit",
                remedy="the cluster undoes the change in time; root or hacluster can do it now",
            )
        wanted = without(present) if keep else rolled_back(present)
        self._send(wanted, reply.digest, client)
        return waiting


def refusal(reason: str) -> HaError:
    """What a write that was not made says, as an error."""
    lowered = reason.lower().replace("nothing was changed", "")
    if "quorum" in lowered:
        return NoQuorum()
    if "digest" in lowered or "conflict" in lowered or "changed" in lowered:
        return Conflict(what=f"the configuration was changed by somebody else meanwhile ({reason})")
    return InvalidRequest(what=f"the cluster refused the change: {reason or 'no reason given'}")
