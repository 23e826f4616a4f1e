"""Pictures, sound and files are found in every dialect's place for them, and measured as they are."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.codec.media import read_media, size_in
from native.codec.spoken import spoken
from native.codec.usage_filter import without_usage


def png(width: int, height: int) -> bytes:
    """Return the head of a PNG."""
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + bytes(90)


def jpeg(width: int, height: int, before: int = 20, marker: int = 0xC0) -> bytes:
    """Return the head of a JPEG with some bytes of metadata."""
    metadata = b"\xff\xe1" + struct.pack(">H", before + 2) + bytes(before)
    frame = bytes([0xFF, 0xFF, marker]) + struct.pack(">HBHH", 17, 8, height, width)
    return b"\xff\xd8" + metadata + frame + bytes(60)


def gif(width: int, height: int) -> bytes:
    """Return the head of a GIF."""
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(60)


def webp(width: int, height: int, kind: bytes) -> bytes:
    """Return the head of a WebP of one of its three kinds."""
    head = b"RIFF\x00\x00\x00\x00WEBP" + kind + b"\x00\x00\x00\x00"
    if kind == b"VP8X":
        return head + bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + bytes(60)
    if kind == b"VP8L":
        return head + b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(60)
    return head + bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(60)


KINDS = {
    "png": png,
    "jpeg": jpeg,
    "progressive": lambda width, height: jpeg(width, height, 60_000, 0xC2),
    "gif": gif,
    "VP8X": lambda width, height: webp(width, height, b"VP8X"),
    "VP8L": lambda width, height: webp(width, height, b"VP8L"),
    "VP8 ": lambda width, height: webp(width, height, b"VP8 "),
}


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(1, 16_000), st.integers(1, 16_000))
def test_the_size_of_a_picture(kind: str, width: int, height: int) -> None:
    """The first bytes give width and height, with slashes escaped in JSON and without."""
    text = base64.b64encode(KINDS[kind](width, height))
    assert size_in(text) == (width, height)
    assert size_in(text.replace(b"/", b"\\/")) == (width, height)


@given(st.binary(max_size=300), st.sampled_from([b"", b"/9j/", b"iVBORw0KGgo", b"R0lGODlh", b"UklGR"]))
def test_no_bytes_confuse_it(data: bytes, begin: bytes) -> None:
    """Any bytes give a size or none, and never a crash."""
    found = size_in(begin + data)
    assert found is None or min(found) > 0


DATA = base64.b64encode(png(1024, 1024)).decode()
URL = f"data:image/png;base64,{DATA}"
PICTURE = (765, 1399, 1032)
SOUND = base64.b64encode(b"RIFF\x00\x00\x00\x00WAVE" + bytes(480_000)).decode()
FILE = base64.b64encode(b"%PDF-1.7" + bytes(120_000)).decode()


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "x" * 5000}, (0, 0, 0)),
        ({"type": "image_url", "image_url": {"url": URL}}, PICTURE),
        ({"type": "image_url", "image_url": {"detail": "low", "url": URL}}, (85, 1399, 1032)),
        ({"type": "image_url", "image_url": {"url": "https://example.net/a.png"}}, PICTURE),
        ({"type": "image_url", "image_url": "https://example.net/a.png"}, PICTURE),
        ({"type": "input_image", "image_url": URL}, PICTURE),
        ({"type": "input_image", "file_id": "file-1"}, PICTURE),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}, PICTURE),
        ({"type": "image", "source": {"type": "url", "url": "https://example.net/a.png"}}, PICTURE),
        ({"inlineData": {"mimeType": "image/png", "data": DATA}}, PICTURE),
        ({"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}}, (110, 110, 352)),
        ({"type": "file", "file": {"file_data": f"data:application/pdf;base64,{FILE}"}}, (6000, 6000, 774)),
        ({"type": "input_file", "file_id": "file-1"}, (2000, 2000, 258)),
    ],
)
def test_every_dialect_is_understood(part: dict[str, Any], expected: tuple[int, ...]) -> None:
    """A part of a message costs what each provider's rule says, and what is no text does not count as text."""
    size, tokens = read_media(json.dumps([{"role": "user", "content": [part]}]).encode())
    assert tokens == expected
    assert size == max((len(text) for text in (DATA, SOUND, FILE) if text in json.dumps(part)), default=0)


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [
        (512, 512, (255, 350, 1032)),
        (2048, 4096, (1105, 1600, 1548)),
        (200, 200, (255, 54, 258)),
        (960, 540, (765, 692, 1548)),
        (16_000, 100, (765, 21, 4128)),
    ],
)
def test_the_rules_of_the_providers(width: int, height: int, tokens: tuple[int, ...]) -> None:
    """Tiles, pixels and the limits of each rule, by examples of the providers' own pages where these have some."""
    url = f"data:image/png;base64,{base64.b64encode(png(width, height)).decode()}"
    assert read_media(json.dumps([{"image_url": {"url": url}}]).encode())[1] == tokens


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"choices": [{"message": {"role": "assistant", "content": "hello"}}], "id": "x" * 90}, 5),
        ({"choices": [{"message": {"content": 'a"\u20ac', "refusal": None}, "finish_reason": "stop"}]}, 5),
        ({"output": [{"type": "message", "content": [{"type": "output_text", "text": "hello"}]}]}, 5),
        ({"candidates": [{"content": {"parts": [{"text": "hello"}, {"functionCall": {"name": "go"}}]}}]}, 7),
        ({"data": [{"b64_json": DATA}]}, 4 * 1290),
        ({"error": "no words", "model": "m"}, 0),
    ],
)
def test_what_an_answer_says(answer: dict[str, Any], said: int) -> None:
    """Text counts its bytes, a picture what pictures cost, names and ids nothing."""
    assert spoken(json.dumps(answer).encode()) == said


EVENT = b'data: {"choices":[{"delta":{"content":"usage"}}]%s}\n\n'


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_hidden_usage(end: bytes) -> None:
    """Events of usage alone go, usage beside choices becomes null, and every other byte stays."""
    usage = b'{"prompt_tokens":1,"completion_tokens_details":{}}'
    stream = [
        b": usage\n\n",
        EVENT % b"",
        EVENT % b',"usage":null',
        EVENT % (b',"usage": ' + usage),
        b'event: x\ndata:{"usage":' + usage + b"}\n\n",
        b'data: {"choices":[ ],"usage":' + usage + b"}\n\n",
        b'data: {"usage":' + usage + b"\n\n",
        b"data: [DONE]\n\n",
    ]
    kept = [*stream[:3], EVENT % b',"usage": null', *stream[6:]]
    assert without_usage(b"".join(stream).replace(b"\n", end)) == b"".join(kept).replace(b"\n", end)


@given(
    st.lists(
        st.sampled_from([b"data: ", b"{", b'"usage"', b":", b"{}", b"}", b"\n", b"\r", b'"choices":[', b"]", b","])
    )
)
def test_hiding_never_adds_anything(pieces: list[bytes]) -> None:
    """What remains of any bytes is a part of them, but for the word null."""
    stream = b"".join(pieces)
    assert len(without_usage(stream)) <= len(stream) + 2 * stream.count(b"{}")
