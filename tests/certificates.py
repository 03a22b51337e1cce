"""A certificate authority for tests: node certificates as `hacli cluster init` would make them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hacluster.rpc import Tls

PEM = serialization.Encoding.PEM


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=90))
    )


def make(nodes: Iterable[str]) -> dict[str, Tls]:
    """For each node what its tls folder would hold; all from one CA."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    authority = (
        _builder("test CA", "test CA", ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    made = {}
    for node in nodes:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(node, "test CA", key)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        made[node] = Tls(
            ca=authority.public_bytes(PEM),
            certificate=certificate.public_bytes(PEM),
            key=key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        )
    return made
