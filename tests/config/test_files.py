"""Files that block a reader (pipes, devices) are refused wherever the configuration names them."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from edge.config.check import check
from edge.config.files import read_file
from edge.config.load import read
from edge.providers import KNOWN

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(20)

NO_FILE = "it is not a regular file; copy its content to one and name that"


def test_a_pipe_is_no_configuration(tmp_path: Path) -> None:
    """A named pipe as configuration is reported at once, although nothing ever writes to it."""
    pipe = tmp_path / "edge.yaml"
    os.mkfifo(pipe)
    problems = check(read(pipe), KNOWN)
    assert [problem.text("edge.yaml") for problem in problems] == [f"edge.yaml: cannot be read: {NO_FILE}"]


def test_a_pipe_is_no_secret_and_no_certificate(tmp_path: Path) -> None:
    """A named pipe in place of a secret or a certificate is reported at once, with its place."""
    pipe, file = tmp_path / "pipe", tmp_path / "edge.yaml"
    os.mkfifo(pipe)
    file.write_text(
        "models: {chat: {targets: [openai/gpt-4.1-mini]}}\n"
        "providers: {openai: {api_key: file:pipe, tls: {ca: pipe}}}\n"
        "listen: [{address: 127.0.0.1:8443, tls: {cert: pipe, key: pipe}}]\n"
    )
    problems = [problem.text("edge.yaml") for problem in check(read(file), KNOWN)]
    assert problems == [
        f"edge.yaml:2: providers.openai.api_key: the secret file {pipe} cannot be read: {NO_FILE}",
        f"edge.yaml:2: providers.openai.tls.ca: {pipe} cannot be read: {NO_FILE}",
        f"edge.yaml:3: listen[0].tls.cert: {pipe} cannot be read: {NO_FILE}",
        f"edge.yaml:3: listen[0].tls.key: {pipe} cannot be read: {NO_FILE}",
    ]


def test_what_certificate_files_hold(tmp_path: Path) -> None:
    """Files of providers and regions that hold no certificates are reported, as those of listeners are."""
    junk, file = tmp_path / "junk.pem", tmp_path / "edge.yaml"
    junk.write_text("no certificate")
    file.write_text(
        "models: {chat: {targets: [openai/gpt-4.1-mini]}}\n"
        "providers: {openai: {api_key: sk-0123456789, tls: {ca: junk.pem}}}\n"
        "peers: {token: 0123456789abcdef0123456789abcdef,\n"
        "  tls: {ca: junk.pem, cert: junk.pem, key: junk.pem}}\n"
    )
    problems = [problem.text("edge.yaml") for problem in check(read(file), KNOWN)]
    pair = f"{junk} and {junk} are not PEM files with a certificate and its unencrypted key"
    for expected in (
        f"edge.yaml:2: providers.openai.tls.ca: {junk} is not a PEM file of certificates",
        f"edge.yaml:4: peers.tls: {pair}",
        f"edge.yaml:4: peers.tls.ca: {junk} is not a PEM file of certificates",
    ):
        assert expected in problems


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A folder, a device and a socket are refused with a reason; a link to a file is read."""
    regular, link, sock = tmp_path / "file", tmp_path / "link", tmp_path / "socket"
    regular.write_bytes(b"one\r\ntwo")
    link.symlink_to(regular)
    assert read_file(link) == b"one\r\ntwo"
    assert read_file(str(regular), 3) == b"one"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(sock))
        for path in (tmp_path, "/dev/zero", sock, tmp_path / "none"):
            with pytest.raises(OSError, match=r"directory|regular|device"):
                read_file(path)
