"""A cluster in a lab: its files, its three services on every node, and what it says of itself."""

from __future__ import annotations

import base64
import datetime
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf.message import Message

from cli.demo.ground import LabError, until
from cli.demo.lab import Lab
from cli.demo.node import SERVICES, Node
from hacluster.v1 import crm_pb2, membership_pb2

CALL_WITHIN_S = 5.0

Reply = TypeVar("Reply", bound=Message)


@dataclass(frozen=True, kw_only=True)
class Times:
    """Of cluster.toml, in ms."""

    keepalive: int = 100
    warntime: int = 250
    deadtime: int = 500
    initdead: int = 30_000


class Authority:
    """A CA for one cluster and its nodes' certificates, PEM."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test cluster")])
        builder = self._builder(name, name, self._key)
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        certificate = builder.add_extension(constraint, critical=True).sign(self._key, hashes.SHA256())
        self._name = name
        self.ca = certificate.public_bytes(serialization.Encoding.PEM).decode()

    @staticmethod
    def _builder(
        subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=90))
        )

    def issue(self, node: str) -> tuple[str, str]:
        """Certificate and key of a node."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
        names = x509.SubjectAlternativeName([x509.DNSName(node)])
        signed = self._builder(subject, self._name, key).add_extension(names, critical=False)
        certificate = signed.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return certificate.decode(), secret.decode()


LINKS = {
    "udp": 'kind = "udp"\nport = 694',
    "mcast": 'kind = "mcast"\nport = 694\ngroup = "225.0.100.1"',
    "bcast": 'kind = "bcast"\nport = 694\ninterface = "eth0"',
}


def cluster_toml(lab: Lab, times: Times, *, name: str, kind: str = "udp") -> str:
    """The configuration of a lab's nodes, a link of that kind on every bridge."""
    lines = [
        f'[cluster]\nname = "{name}"\nid = "{secrets.token_hex(16)}"',
        "[timers]",
        *(f'{key} = "{value}ms"' for key, value in vars(times).items()),
        f"[quorum]\ntwo_node = {str(len(lab.nodes) == 2).lower()}",
    ]
    lines += [f"[[link]]\n{LINKS[kind]}"] * lab.links
    for node in lab.nodes:
        addresses = ", ".join(f'"{interface.ip}"' for interface in node.interfaces)
        lines.append(f'[[node]]\nid = {node.number}\nname = "{node.name}"\naddresses = [{addresses}]')
    return "\n".join(lines) + "\n"


class Cluster:
    """Nodes with everything configured but the CIB."""

    def __init__(
        self, lab: Lab, times: Times | None = None, *, name: str = "live", kind: str = "udp"
    ) -> None:
        self.lab = lab
        self.times = times or Times()
        self.nodes = lab.nodes
        text = cluster_toml(lab, self.times, name=name, kind=kind)
        key = f"auth 1\n1 sha256 {base64.b64encode(secrets.token_bytes(32)).decode()}\n"
        authority = Authority()
        for node in lab.nodes:
            certificate, secret = authority.issue(node.name)
            node.write("/etc/hacluster/cluster.toml", text)
            node.write("/etc/hacluster/authkeys", key, 0o600)
            node.write("/etc/hacluster/tls/ca.pem", authority.ca)
            node.write("/etc/hacluster/tls/node.pem", certificate)
            node.write("/etc/hacluster/tls/node.key", secret, 0o600)

    def boot(self, nodes: Sequence[Node] | None = None) -> int:
        """Power on; the moment in ns."""
        at_ns = time.monotonic_ns()
        for node in self.nodes if nodes is None else nodes:
            node.boot()
        return at_ns

    # --- what it says of itself

    def messaging(self, node: Node) -> membership_pb2.MessagingStatus:
        """ha-messaging's own account. Raises LabError when it does not answer."""
        request, reply = membership_pb2.MessagingStatusRequest(), membership_pb2.MessagingStatus
        return call(node, "messaging", "Membership/Status", request, reply)

    def status(self, node: Node) -> crm_pb2.ClusterStatus:
        """The cluster as a node's ha-crm sees it. Raises LabError when it does not answer."""
        request = crm_pb2.ClusterStatusRequest(local=True)
        return call(node, "crm", "Crm/Status", request, crm_pb2.ClusterStatus)

    def members(self, node: Node) -> list[str]:
        """Of the view installed on a node; [] when it does not answer."""
        try:
            return [member.name for member in self.messaging(node).authority.view.members]
        except LabError:
            return []

    def dc(self, node: Node) -> str:
        """The DC a node follows; "" when there is none or no answer."""
        try:
            return self.status(node).dc
        except LabError:
            return ""

    def wait_members(
        self, names: Sequence[str], within_s: float, *, on: Sequence[Node] | None = None
    ) -> None:
        """Wait until exactly these are members, on all nodes that are on (or on `on`)."""
        where = [node for node in (self.nodes if on is None else on) if node.is_on]
        wanted = sorted(names)
        until(
            lambda: all(sorted(self.members(node)) == wanted for node in where),
            within_s,
            what=f"view of {wanted}, now {[self.members(node) for node in where]}",
        )

    def wait_dc(self, within_s: float, *, not_node: Node | None = None) -> str:
        """Wait until all nodes that are on follow one DC; its name."""

        def agreed() -> str:
            seen = {self.dc(node) for node in self.nodes if node.is_on and node is not not_node}
            name = seen.pop() if len(seen) == 1 else ""
            return "" if not_node is not None and name == not_node.name else name

        return until(agreed, within_s, what="one DC")

    def whole(self, node: Node) -> bool:
        """All three services answer their health call there."""
        return all(healthy(node, service) for service in SERVICES)

    def errors(self) -> list[str]:
        """Tracebacks and lines of level error or critical in any log."""
        found = []
        for node in self.nodes:
            for service in (*SERVICES, "supervisor"):
                for record in node.log_records(service):
                    text = str(record.get("text", ""))
                    if record.get("level") in ("error", "critical") or text.startswith("Traceback"):
                        found.append(f"{node.name} {service}: {record}")
        return found


def _channel(node: Node, service: str) -> grpc.Channel:
    return grpc.insecure_channel(f"unix:/proc/{node.first}/root/run/hacluster/{service}.sock")


def call(node: Node, service: str, method: str, request: Message, reply: type[Reply]) -> Reply:
    """One call to a service's unix socket. Raises LabError."""
    with _channel(node, service) as channel:
        invoke = channel.unary_unary(
            f"/hacluster.v1.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )
        try:
            answer: Reply = invoke(request, timeout=CALL_WITHIN_S)
        except grpc.RpcError as error:
            raise LabError(what=f"{node.name} {service} {method}: {error}") from error
    return answer


def healthy(node: Node, service: str) -> bool:
    """The service answers its health call with SERVING."""
    from grpc_health.v1 import health_pb2

    with _channel(node, service) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
