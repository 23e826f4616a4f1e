"""The certificate that every TLS server of the macro benchmarks shows, and the authority that clients trust."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trustme
from msgspec import Struct

if TYPE_CHECKING:
    from pathlib import Path

HOST: Final = "edge.test"


class Files(Struct, frozen=True):
    """PEM files: the authority, a certificate with its chain, its private key, and the last two in one file."""

    ca: str
    cert: str
    key: str
    both: str  # HAProxy reads the key from the certificate's file


def issue(folder: Path) -> Files:
    """Make an authority and a P-256 certificate for ``edge.test`` and 127.0.0.1, and write them to the folder."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    issued = authority.issue_cert(HOST, "127.0.0.1", key_type=trustme.KeyType.ECDSA)
    files = Files(*(str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem", "both.pem")))
    authority.cert_pem.write_to_path(files.ca)
    issued.private_key_pem.write_to_path(files.key)
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(files.cert, append=number > 0)
    issued.private_key_and_cert_chain_pem.write_to_path(files.both)
    return files
