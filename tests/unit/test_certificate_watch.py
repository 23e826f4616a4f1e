"""Renewed certificate files count once they are complete, and only if they fit each other."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trustme

from edge.config import certificates
from edge.config.load import read_text
from edge.control.certificate_watch import CertificateWatch

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from edge.config.schema import Config


class Files:
    """A certificate and its key in two files, which are renewed one after the other."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.cert, self.key, self.ca = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))
        self.renew()

    def renew(self, *, key: bool = True) -> None:
        """Write a new certificate, and its key unless that comes later."""
        self._issued = self._authority.issue_cert("a.test")
        self._issued.cert_chain_pems[0].write_to_path(str(self.cert))
        if key:
            self.write_key()

    def write_key(self) -> None:
        """Write the key of the last certificate."""
        self._issued.private_key_pem.write_to_path(str(self.key))

    def config(self) -> Config:
        """Return a configuration that names the files everywhere."""
        pair = f"cert: {self.cert}, key: {self.key}"
        return read_text(
            f"listen: [{{address: '127.0.0.1:1', tls: {{{pair}, client_ca: {self.ca}}}}}]\n"
            f"providers: {{p: {{base_url: 'https://p.test', tls: {{ca: {self.ca}, {pair}}}}}}}\n"
            f"services: {{s: {{match: {{path: /}}, targets: ['s.test:1'], tls: {{ca: {self.ca}}}}}}}\n"
            f"peers: {{tls: {{ca: {self.ca}, {pair}}}}}\n"
        ).config


def test_a_renewed_pair_counts_once(tmp_path: Path) -> None:
    """A pair that was replaced is taken when two looks agree, and not again; untouched files never are."""
    files = Files(tmp_path)
    watch, config = CertificateWatch(), files.config()
    assert [watch.poll(config) for _ in range(3)] == [False, False, False]
    files.renew()
    assert [watch.poll(config) for _ in range(4)] == [False, True, False, False]
    os.utime(files.ca, ns=(1, 1))
    assert [watch.poll(config) for _ in range(3)] == [False, True, False]


def test_half_a_renewal_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A certificate whose key is still the old one is refused and said; with its key it counts."""
    files = Files(tmp_path)
    watch, config = CertificateWatch(), files.config()
    watch.poll(config)
    files.renew(key=False)
    assert [watch.poll(config) for _ in range(3)] == [False, False, False]
    assert "do not belong together" in caplog.text
    files.write_key()
    assert [watch.poll(config) for _ in range(3)] == [False, True, False]
    files.cert.unlink()
    assert [watch.poll(config) for _ in range(3)] == [False, False, False]
    assert "cannot be read" in caplog.text


def test_every_file_is_watched(tmp_path: Path) -> None:
    """Listeners, providers, services and peers name the files, each of which is looked at once."""
    files = Files(tmp_path)
    assert certificates.files(files.config()) == (str(files.cert), str(files.key), str(files.ca))
    assert list(certificates.problems(files.config())) == []
