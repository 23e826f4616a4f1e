"""The reader of forms finds the model that other readers find, and refuses what they could split differently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sim.form import form_as_fields
from native.codec.form import find_boundary, name_model, read_form
from native.codec.request_peek import PeekError

B = "XyZ"
OK, MALFORMED, DUPLICATE, TYPE, LONG = (
    PeekError.PEEK_OK,
    PeekError.PEEK_MALFORMED,
    PeekError.PEEK_DUPLICATE,
    PeekError.PEEK_TYPE,
    PeekError.PEEK_LONG_NAME,
)


def part(name: str, content: bytes, more: str = "") -> bytes:
    """Return a part behind its delimiter."""
    return f'--{B}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """Return a whole form."""
    return b"".join(parts) + f"--{B}--\r\n".encode()


FILE = '; filename="a.wav"\r\nContent-Type: audio/wav'
SOUND = part("file", b"RIFF" + bytes(1000), FILE)
MODEL = part("model", b"whisper")


@pytest.mark.parametrize("parts", [(MODEL, SOUND), (SOUND, MODEL), (SOUND, part("language", b"de"), MODEL)])
def test_the_model_may_stand_anywhere(parts: tuple[bytes, ...]) -> None:
    """The model is found before the file and behind it."""
    error, _, model, stream, _ = read_form(form(*parts), B.encode())
    assert (error, model, stream) == (OK, b"whisper", False)


@pytest.mark.parametrize(("said", "stream"), [(b"true", True), (b"True", True), (b"1", True), (b"false", False)])
def test_a_stream_is_asked_for_in_words(said: bytes, stream: bool) -> None:
    """The values of a boolean part are those that servers accept."""
    assert read_form(form(SOUND, part("stream", said)), B.encode())[2:4] == (None, stream)


@given(
    texts=st.dictionaries(
        st.sampled_from(["model", "prompt", "language", "n", "user"]), st.text("ab-\u00fc\r\n", max_size=9)
    ),
    sound=st.binary(max_size=60) | st.sampled_from([b"\r\n--XyY", b"--XyY", b"\r\n", b"-"]),
    place=st.integers(0, 5),
)
def test_it_reads_what_another_reader_reads(texts: dict[str, str], sound: bytes, place: int) -> None:
    """The model is that of Python's own reader, and one that is put in place of it or in front is read there too."""
    parts = [part(name, text.encode()) for name, text in texts.items()]
    parts.insert(place, part("file", sound, FILE))
    body = form(*parts)
    error, _, model, _, size = read_form(body, B.encode())
    if "\n" in texts.get("model", "") or "\r" in texts.get("model", ""):
        assert error == TYPE
        return
    assert error == OK
    kind = f"multipart/form-data; boundary={B}"
    seen = form_as_fields(kind, body)
    assert (None if model is None else model.decode()) == seen.get("model")
    assert size == len(body) - len(texts.get("prompt", "").encode())
    if model is None:
        named, start, end = name_model(body, B.encode(), b"mine")
        assert named[start:end] == b"mine"
        assert read_form(named, B.encode())[:3] == (OK, -1, b"mine")
        assert form_as_fields(kind, named) == {"model": "mine", **seen}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", MALFORMED),
        (b"\r\n" + form(MODEL), MALFORMED),
        (form(MODEL)[:-5], MALFORMED),
        (form(MODEL) + b"x", MALFORMED),
        (form(MODEL) + b"\r\n", MALFORMED),
        (form(b"--XyZ \r\n", MODEL), MALFORMED),
        (form(b"--XyZa\r\n", MODEL), MALFORMED),
        (form(b"--XyZ\r\n\r\nx\r\n", MODEL), MALFORMED),
        (form(b"--XyZ\r\nContent-Disposition: attachment; name=model\r\n\r\nx\r\n"), MALFORMED),
        (form(part("file", b"x", "\r\n Folded: x")), MALFORMED),
        (form(part("file", b"x", '; name="model"')), MALFORMED),
        (form(part("file", b"x", "; name*=utf-8''model")), MALFORMED),
        (form(part("file", b"x", "; name*0=model")), MALFORMED),
        (form(part("file", b"x", "; name*0*=utf-8''model")), MALFORMED),
        (form(part("file", b"x", "; name =model")), MALFORMED),
        (form(part("file", b"x", "; size=1")), MALFORMED),
        (form(part("file", b"x", '; filename="a"; filename="b"')), MALFORMED),
        (form(part("file", b"x", "; filename*=utf-8''a; filename*=utf-8''b")), MALFORMED),
        (form(part("file", b"x", "; filename*0=a")), MALFORMED),
        (form(part("file", b"x", '; filename=a"b')), MALFORMED),
        (form(part("file", b"x", '\r\nContent-Disposition : form-data; name="model"')), MALFORMED),
        (form(b"--XyZ\r\nContent-Disposition: form-data; name=(a)model\r\n\r\nx\r\n"), MALFORMED),
        (form(part("file", b"x", r'; filename="\\"; name=model; filename*="')), MALFORMED),
        (form(part("file", b"x", '; filename="a\\\\"')), MALFORMED),
        (form(part("file", b"x", '; filename="a\\\\\\"b"')), MALFORMED),
        (form(part("file", b"x", '; filename="a\\"; filename*=b"')), MALFORMED),
        (form(part("file", b"x", '; filename="a\\"b"; filename*=b')), MALFORMED),
        (form(part("file", b"x\n--XyZ\nContent-Disposition: form-data; name=model\n\nother")), MALFORMED),
        (form(part("file", b"x\r--XyZ")), MALFORMED),
        (form(part("file", b"--XyZ")), MALFORMED),
        (form(part("mod\\el", b"x")), MALFORMED),
        (form(part("file", b"x", '\r\nContent-Disposition: form-data; name="model"')), MALFORMED),
        (form(part("file", b"x", "\r\nX: " + "a" * 4096)), MALFORMED),
        (form(*[part("user", b"x")] * 300), MALFORMED),
        (form(MODEL, SOUND, MODEL), DUPLICATE),
        (form(MODEL, part("Model", b"other")), DUPLICATE),
        (form(part("model", b"x", FILE)), TYPE),
        (form(part("model", b"eA==", "\r\nContent-Transfer-Encoding: base64")), TYPE),
        (form(part("model", b"p/--XyZ")), TYPE),
        (form(part("model", b"a\nb")), TYPE),
        (form(part("model", b"a" * 513)), LONG),
    ],
)
def test_what_readers_could_split_differently_is_refused(body: bytes, error: PeekError) -> None:
    """A form is refused if it is incomplete, ambiguous, or has a model that is no short text."""
    assert read_form(body, B.encode())[0] == error


@pytest.mark.parametrize(
    "names",
    [
        '; filename="C:\\talks\\a b; c.wav"',
        r'; filename="C:\\talks\\a.wav"',
        r'; filename="a \"b\" c.wav"',
        '; filename="a%22b.wav"',
        "; filename=\"t.wav\"; filename*=UTF-8''%C3%BC%20(1).wav",
        "; filename=\u00fc.wav",
    ],
)
def test_file_names_that_clients_write_are_taken(names: str) -> None:
    """Paths with backslashes, escaped or encoded quotes and names of both kinds move no end of a string."""
    body = form(part("file", b"a--XyZ", names), MODEL)
    assert read_form(body, B.encode())[::2] == (OK, b"whisper", len(body))


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=XyZ", b"XyZ"),
        (b'Multipart/Form-Data; charset=utf-8; Boundary="a:b"', b"a:b"),
        (b"multipart/form-data", None),
        (b"multipart/form-data; boundary=", None),
        (b"multipart/form-data; boundary=" + b"a" * 71, None),
        (b"multipart/form-data; boundary=a\\b", None),
        (b"multipart/form-data; boundary=a; boundary=b", None),
        (b'multipart/form-data; boundary=a; boundary="b"', None),
        (b"multipart/form-data; boundary=a; boundary*=utf-8''b", None),
        (b"multipart/form-data; boundary*0=b; boundary=a", None),
        (b"multipart/form-data; boundary=a; boundary0=b", None),
        (b"multipart/form-data; charset*=utf-8''x; boundary=a", None),
        (b"multipart/form-data; boundary=a,b", None),
        (b"multipart/form-data; boundary=----WebKitFormBoundary'+_.1", b"----WebKitFormBoundary'+_.1"),
        (b"multipart/mixed; boundary=a", None),
        (b"application/json", None),
    ],
)
def test_a_boundary_has_the_characters_of_its_standard(content_type: bytes, boundary: bytes | None) -> None:
    """A boundary has 1 to 70 characters, each that RFC 2046 allows, and is given once."""
    assert find_boundary(content_type) == boundary
