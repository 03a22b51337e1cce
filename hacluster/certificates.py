"""What certificates and revocation lists say. `cryptography` takes long to load: only where it is needed."""

from __future__ import annotations

from functools import lru_cache

from hacluster.errors import InvalidDocument


def named_certificates(pem: bytes, revoked: frozenset[int]) -> tuple[tuple[str, bytes], ...]:
    """Name and certificate of each node's that was not revoked. Raises ValueError."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    found: list[tuple[str, bytes]] = []
    for one in x509.load_pem_x509_certificates(pem) if pem.strip() else ():
        if one.serial_number not in revoked:
            try:
                names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            except x509.ExtensionNotFound:
                continue
            raw = one.public_bytes(Encoding.PEM)
            found += [(name, raw) for name in names.get_values_for_type(x509.DNSName)]
    return tuple(found)


def revoked_serials(crl: bytes, ca: bytes, *, source: str) -> frozenset[int]:
    """The serial numbers on the list of that CA; one that is overdue still counts. Raises InvalidDocument."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    keys = (ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey)
    try:
        revoked = x509.load_pem_x509_crl(crl)
        issuer = x509.load_pem_x509_certificate(ca).public_key()
        if not isinstance(issuer, keys) or not revoked.is_signature_valid(issuer):
            raise ValueError("it is not signed by the CA of ca.pem")
    except (ValueError, TypeError) as error:
        raise InvalidDocument(
            source=source,
            line=0,
            what=f"no certificate revocation list of this cluster ({error})",
            remedy="make it again with the CA's key, or remove it",
        ) from None
    return frozenset(entry.serial_number for entry in revoked)


@lru_cache(maxsize=1_024)
def serial_of(certificate: bytes) -> int:
    """Of a certificate in PEM."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate).serial_number
