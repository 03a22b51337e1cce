"""The cluster's certificate authority and its nodes' certificates: EC P-256, X.509."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hacluster.errors import InvalidRequest
from hacluster.rpc import USER_URI

VALID_DAYS: Final = 20 * 365
# Clocks of cluster nodes may be behind.
_BACKDATED: Final = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(common: str, organisation: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def make_authority(cluster: str) -> Pair:
    """A new certificate authority for one cluster. Its key signs further nodes; no daemon needs it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{cluster[:50]} CA", "hacluster")
    certificate = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate=certificate.public_bytes(serialization.Encoding.PEM), key=_key_pem(key))


def make_node(authority: Pair, node: str, addresses: Sequence[str]) -> Pair:
    """A node's certificate, for both ends of a connection; its names are the node's name and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Pair(certificate=_sign(authority, key.public_key(), node, addresses), key=_key_pem(key))


def make_user(authority: Pair, user: str) -> Pair:
    """A user's certificate, for the client's end only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name: list[x509.GeneralName] = [x509.UniformResourceIdentifier(USER_URI + user)]
    usage = [ExtendedKeyUsageOID.CLIENT_AUTH]
    signed = _issue(authority, key.public_key(), _name(user, "hacluster user"), name, usage)
    return Pair(certificate=signed, key=_key_pem(key))


def make_request(node: str) -> Pair:
    """A new key, and the request (in the place of a certificate) for whoever has the CA's key to sign."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(node[:64], "hacluster node"))
    request = builder.sign(key, hashes.SHA256())
    return Pair(certificate=request.public_bytes(serialization.Encoding.PEM), key=_key_pem(key))


def sign_request(authority: Pair, request: bytes, node: str, addresses: Sequence[str]) -> bytes:
    """The certificate for a request. Names are those given, whatever it asks for. Raises InvalidRequest."""
    try:
        asked = x509.load_pem_x509_csr(request)
        key = asked.public_key()
    except ValueError as error:
        raise InvalidRequest(what=f"no request for a certificate: {error}") from None
    if not asked.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidRequest(what="the request is not signed by its own key, or that is not an EC key")
    return _sign(authority, key, node, addresses)


def _sign(authority: Pair, key: ec.EllipticCurvePublicKey, node: str, addresses: Sequence[str]) -> bytes:
    names: list[x509.GeneralName] = [x509.DNSName(node)]
    names += [x509.IPAddress(ipaddress.ip_address(one)) for one in dict.fromkeys(addresses)]
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issue(authority, key, _name(node[:64], "hacluster node"), names, usage)


def _issue(
    authority: Pair,
    key: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
    usage: Sequence[x509.ObjectIdentifier],
) -> bytes:
    signer = _signer(authority)
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    certificate = (
        _builder(subject, issuer.subject, key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _signer(authority: Pair) -> ec.EllipticCurvePrivateKey:
    signer = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return signer


def make_crl(authority: Pair, former: bytes, serials: Iterable[int]) -> bytes:
    """The CA's list of revoked certificates: those of the former list (may be empty) and these, PEM."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - _BACKDATED)
        .next_update(now + datetime.timedelta(days=VALID_DAYS))
    )
    known = {one.serial_number: one for one in x509.load_pem_x509_crl(former)} if former else {}
    for one in known.values():
        builder = builder.add_revoked_certificate(one)
    for serial in dict.fromkeys(serials):
        if serial not in known:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(entry)
    return builder.sign(_signer(authority), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate (PEM), hexadecimal. Raises ValueError."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex()


def is_of_node(certificate: x509.Certificate, ca: bytes, node: str) -> bool:
    """Whether it is that node's, issued by the CA (PEM), and valid now."""
    now = datetime.datetime.now(datetime.UTC)
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    in_time = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    return in_time and node in names.get_values_for_type(x509.DNSName)
