"""The one-pass reader finds the same in a body as a complete parse, and refuses what a complete parse refuses."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from native.codec import json_text, request_peek, response_peek
from tests.reference import peek as twin
from tests.reference import usage as usage_twin

SPACES = st.text(" \t\n\r", max_size=3)
USAGE = (
    "usage",
    "x_groq",
    *usage_twin.NAMES,
    *usage_twin.DETAILS,
    *usage_twin.MODALITIES,
    "modality",
    "tokenCount",
    *{name for names in usage_twin.DETAILS.values() for name in names},
)
VERDICT = ("error", "object", "status", "failed", "choices", "output", "data", "content")
WORDS = st.sampled_from((*twin.ONCE, *USAGE, *VERDICT, "include_usage", "messages", "models", "mode", ""))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(0, 5000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    WORDS,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(st.tuples(st.one_of(WORDS, st.text(max_size=8)), inner), max_size=5).map(twin.Members),
    ),
    max_leaves=12,
)
OBJECTS = st.lists(st.tuples(st.one_of(WORDS, st.text(max_size=8)), VALUES), max_size=8).map(twin.Members)
UNICODE = st.text(st.characters(codec="utf-8"), max_size=30)
COUNTS = st.one_of(st.none(), st.integers(0, 5000), st.integers(-1, 2**70), st.floats(0, 9), st.text(max_size=3))


@st.composite
def well_typed(draw: st.DrawFn) -> twin.Members:
    """Requests that are mostly valid: each known key at most once, with a value of about the right type."""
    members: dict[str, Any] = {"model": draw(UNICODE)}
    if draw(st.booleans()):
        members["stream"] = draw(st.sampled_from([True, False, None]))
    for key in draw(st.sets(st.sampled_from((*twin.COUNTED, "n", "best_of")))):
        members[key] = draw(COUNTS)
    if draw(st.booleans()):
        usage = draw(st.one_of(st.booleans(), SCALARS))
        members["stream_options"] = draw(st.one_of(SCALARS, st.just(twin.Members([("include_usage", usage)]))))
    for key in draw(st.lists(UNICODE.filter(lambda key: key not in twin.ONCE), max_size=3)):
        members[key] = draw(VALUES)
    return twin.Members(draw(st.permutations(list(members.items()))))


REQUESTS = well_typed()


def write_string(draw: st.DrawFn, text: str) -> str:
    """Write a string in one of the ways that JSON allows: any character may be an escape."""
    out = []
    escape_all = draw(st.booleans())
    for char in text:
        units = char.encode("utf-16-be", "surrogatepass")
        escaped = "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2))
        plain = json.dumps(char, ensure_ascii=0xD800 <= ord(char) <= 0xDFFF)[1:-1]
        out.append(escaped if escape_all and draw(st.booleans()) else "\\/" if escape_all and char == "/" else plain)
    return '"' + "".join(out) + '"'


def write(draw: st.DrawFn, value: Any) -> str:
    """Write a value as JSON with odd spacing and odd escapes."""

    def space() -> str:
        return draw(SPACES)

    if isinstance(value, twin.Members):
        inner = ",".join(
            f"{space()}{write_string(draw, key)}{space()}:{space()}{write(draw, member)}{space()}"
            for key, member in value
        )
        return "{" + (inner or space()) + "}"
    if isinstance(value, list):
        return "[" + (",".join(f"{space()}{write(draw, member)}{space()}" for member in value) or space()) + "]"
    return write_string(draw, value) if isinstance(value, str) else json.dumps(value)


@st.composite
def documents(draw: st.DrawFn, values: st.SearchStrategy[Any] = OBJECTS) -> bytes:
    """JSON documents in unusual spellings."""
    return (draw(SPACES) + write(draw, draw(values)) + draw(SPACES)).encode()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """JSON documents with a few bytes removed, inserted or changed: mostly invalid, some still valid."""
    data = bytearray(draw(documents(st.one_of(REQUESTS, OBJECTS, VALUES))))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.integers(0, 2))
        put = draw(st.one_of(st.none(), st.sampled_from(b'{}[]",:\\u0-+.eE1tfn \n\x00\x1f')))
        data[at : at + cut] = b"" if put is None else bytes([put])
    return bytes(data)


def agree_on_request(data: bytes) -> None:
    """Assert that both readers find the same in a request."""
    expected = twin.read_request(data)
    found = request_peek.read_request(data)
    if expected.error == "PEEK_MALFORMED":
        assert found.error != request_peek.PeekError.PEEK_OK, data
        assert 0 <= found.error_at <= len(data)
        return
    assert expected.error == request_peek.PeekError(found.error).name, data
    if expected.error == "PEEK_OK":
        got = twin.Request("PEEK_OK", found.model, found.stream, found.max_tokens, found.include_usage, found.choices)
        assert expected == got, data
        assert found.error_at == -1
        spelled = data[found.model_start : found.model_end] if found.model_start >= 0 else None
        assert (found.model is None) == (spelled is None)
        if spelled is not None:
            assert json.loads(b'"' + spelled + b'"') == found.model
    else:
        assert 0 <= found.error_at < len(data)


def agree_on_response(data: bytes) -> None:
    """Assert that both readers find the same in an answer."""
    expected = twin.read_response(data)
    found = response_peek.read_response(data)
    got = twin.Response(found.valid, found.is_object if found.valid else False, found.has_error)
    assert expected._replace(usage=()) == got, data
    if found.valid:
        assert usage_twin.read_usage(expected.usage) == found.tokens, data


@given(documents(st.one_of(REQUESTS, OBJECTS)))
@example(b'{"mod\\u0065l":"a"}')
@example(b'{"model":"a","mod\\u0065l":"b"}')
@example(b'{"max_tokens":1e3,"max_output_tokens":99999999999999999999,"max_completion_tokens":null}')
@example(b'{"stream":null,"stream_options":{"include_usage":true}}')
@example(b'{"n":2,"best_of":3.5,"prompt":["a",[1],2]}')
@example(b'{"stream":1}')
@example(b'{"model":null}')
@example(b'{"model":"\\ud83d\\ude00 \\u00e9"}')
@example(b'{"model":"\\ude00\\ud83d"}')
@example(b'{"model":"\\ud83d"}')
def test_request_reads_as_a_whole_parse_does(data: bytes) -> None:
    """Every well-formed object gives the model, flags and limits of a complete parse, in any spelling."""
    agree_on_request(data)


@given(documents())
@example(b'{"choices":[],"error":{"message":"x"}}')
@example(b'{"choices":[{}],"error":{"message":"x"}}')
@example(b'{"status":"failed","output":[{}],"error":{"code":"server_error"}}')
@example(b'{"object":"error","message":"x"}')
@example(b'{"error":null,"output":[ ]}')
@example(b'\xef\xbb\xbf{"error":{ }}')
@example(b'{"usage":{"prompt_tokens":3,"completion_tokens":4}}')
@example(b'{"usage":{"prompt_tokens":3,"input_tokens":null}}')
@example(b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":20.5}}')
@example(b'{"usage":{"input_tokens":3,"cache_read_input_tokens":4},"x_groq":{"usage":{"output_tokens":1e400}}}')
@example(b'{"usage":{"completion_tokens":3,"completion_tokens_details":{"reasoning_tokens":4}}}')
@example(b'{"usageMetadata":{"promptTokensDetails":[{"modality":"AUDIO","tokenCount":7},{"tokenCount":2}]}}')
@example(
    b'{"usageMetadata":{"cacheTokensDetails":[{"tokenCount":3,"modality":"\\u0041UDIO"},[],7,{"modality":"IMAGE"}]}}'
)
@example(b'{"usageMetadata":{"promptTokensDetails":[{"modality":"AUDIO","modality":1,"tokenCount":7}]}}')
def test_response_reads_as_a_whole_parse_does(data: bytes) -> None:
    """Every well-formed answer gives the error, content and usage of a complete parse."""
    agree_on_response(data)


@given(mutated())
@example(b"")
@example(b" ")
@example(b"{}{}")
@example(b'{"a":01}')
@example(b'{"a":-}')
@example(b'{"a":1.}')
@example(b'{"a":.5}')
@example(b'{"a":+1}')
@example(b'{"a":1e}')
@example(b'{"a":NaN}')
@example(b'{"a":-Infinity}')
@example(b'{"a":nul}')
@example(b'{"a":truefalse}')
@example(b'{"a":"\\u12g4"}')
@example(b'{"a":"\\x41"}')
@example(b'{"a":"\t"}')
@example(b'{"a":"\x00"}')
@example(b'{"a":1,}')
@example(b"{,}")
@example(b"[1,]")
@example(b"[,1]")
@example(b'{"a" 1}')
@example(b"{1:2}")
@example(b"{'a':1}")
@example(b'{"a":"')
@example(b'{"a":"\\')
@example(b'{"a":"\\u00')
@example(b"\xef\xbb\xbf{}")
@example(b"[] // no")
@example(b"\x0b[]")
def test_accepts_exactly_what_is_json(data: bytes) -> None:
    """A document is accepted if and only if a strict parser accepts it (except for duplicates of known keys)."""
    agree_on_request(data)
    agree_on_response(data)


@given(st.binary(max_size=64))
def test_any_bytes_are_answered(data: bytes) -> None:
    """Random bytes give the same result as the parser, and never a crash."""
    agree_on_request(data)
    agree_on_response(data)


@given(documents(), st.data())
def test_every_truncation_is_refused(data: bytes, more: st.DataObject) -> None:
    """An object cut anywhere before its last brace is malformed, and the fault's position is within it."""
    cut = more.draw(st.integers(0, len(data.rstrip()) - 1))
    assert response_peek.read_response(data[:cut]).valid is False
    found = request_peek.read_request(data[:cut])
    assert found.error != request_peek.PeekError.PEEK_OK
    assert 0 <= found.error_at <= cut


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("levels", [1, 127, 128, 129, 100_000])
def test_depth_is_bounded(opening: bytes, closing: bytes, levels: int) -> None:
    """128 levels are read, the 129th is refused where it opens, and the stack is never exhausted."""
    data = opening * levels + b"1" + closing * levels
    found = request_peek.read_request(data)
    shallow = request_peek.PeekError.PEEK_OK if opening.startswith(b"{") else request_peek.PeekError.PEEK_NOT_OBJECT
    expected = (shallow, -1 if shallow == request_peek.PeekError.PEEK_OK else 0)
    assert ((request_peek.PeekError.PEEK_DEPTH, 128 * len(opening)) if levels > 128 else expected) == (
        found.error,
        found.error_at,
    )
    assert (levels <= 128) is response_peek.read_response(data).valid


@pytest.mark.parametrize("length", range(40))
@pytest.mark.parametrize("stop", [b'"', b"\\n", b"\x1f", b"\x00"])
def test_every_stop_is_seen_at_every_place(length: int, stop: bytes) -> None:
    """A quote, an escape or a control character is found wherever it falls in the eight bytes read at once."""
    for filler in (b"a", b"\x7f", b"\x80", b"\xff", b" ", b"!", b"#", b"[", b"]"):
        data = b'["' + filler * length + stop + filler * 9 + b'"]'
        assert (stop == b"\\n") is response_peek.read_response(data).valid, data


def test_faults_name_their_place() -> None:
    """The offset of a refusal is that of the wrong byte, which the error response shows to the caller."""
    cases = {
        b'{"model":7}': (request_peek.PeekError.PEEK_TYPE, 9),
        b'{"stream":"yes"}': (request_peek.PeekError.PEEK_TYPE, 10),
        b'{"model":"a" , "mod\\u0065l":"b"}': (request_peek.PeekError.PEEK_DUPLICATE, 15),
        b" [1]": (request_peek.PeekError.PEEK_NOT_OBJECT, 1),
        b'{"a":1}x': (request_peek.PeekError.PEEK_MALFORMED, 7),
        b'{"a":"b\nc"}': (request_peek.PeekError.PEEK_MALFORMED, 7),
        b'{"a":[1 2]}': (request_peek.PeekError.PEEK_MALFORMED, 8),
        b'{"a":': (request_peek.PeekError.PEEK_MALFORMED, 5),
    }
    assert cases == {
        data: (found.error, found.error_at) for data in cases if (found := request_peek.read_request(data))
    }


@pytest.mark.parametrize("key", twin.ONCE)
def test_known_keys_come_once(key: str) -> None:
    """A second spelling of a key that edge reads is refused, because the provider might read the other one."""
    value = '"a"' if key == "model" else "null"
    data = f'{{"{key}":{value},"x":1,"\\u{ord(key[0]):04x}{key[1:]}":{value}}}'.encode()
    found = request_peek.read_request(data)
    assert found.error == request_peek.PeekError.PEEK_DUPLICATE


@pytest.mark.parametrize("filler", ["\\u0041", "n"])
def test_a_long_name_is_read_no_further(filler: str) -> None:
    """A name that is too long by its length alone is refused there: what follows, valid or not, is not walked."""
    longest = filler * (6 * 512 // len(filler))
    assert request_peek.read_request(f'{{"model":"{longest}"}}'.encode()).error == request_peek.PeekError.PEEK_OK
    for rest in ('"}', "\0 is not JSON", ""):
        found = request_peek.read_request(f'{{"model":"{longest}{filler * 2}{rest}'.encode())
        assert (found.error, found.error_at) == (request_peek.PeekError.PEEK_LONG_NAME, 9)
    found = request_peek.read_request(f'{{"model":"\0{longest}{filler}"}}'.encode())
    assert (found.error, found.error_at) == (request_peek.PeekError.PEEK_MALFORMED, 10)


@pytest.mark.alone
def test_escapes_are_walked_quickly() -> None:
    """A text of escapes costs at most half of what short strings of the same size cost; it was as much."""

    def cost(content: bytes) -> float:
        body = b'{"model":"m","messages":[{"content":' + content + b"}]}"
        times = []
        for _ in range(7):
            began = time.process_time_ns()
            assert request_peek.read_request(body).error == request_peek.PeekError.PEEK_OK
            times.append(time.process_time_ns() - began)
        return min(times)

    assert 2 * cost(b'"' + b"\\u0041" * 2**20 + b'"') < cost(b"[" + b'"aaa",' * 2**20 + b'""]')


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("byte", [b"/", b":", b"@", b"G", b"`", b"g", b'"', b"\xff", b"\0"])
def test_each_digit_of_an_escape_counts(place: int, byte: bytes) -> None:
    """One byte that is no hexadecimal digit makes an escape malformed, alone and in a run of escapes."""
    digits = bytearray(b"09Af")
    digits[place : place + 1] = byte
    for before in (b"", b"\\n\\u00e9"):
        assert response_peek.read_response(b'["' + before + b'\\u09Af\\uafF0"]').valid
        assert not response_peek.read_response(b'["' + before + b"\\u" + bytes(digits) + b'"]').valid


@given(documents(REQUESTS))
@example(b'{"model":"a","stream_options":{ }}')
@example(b'{"model":"a","stream_options":{"x":1,"include_usage":null}}')
@example(b' {"stream_options":null,"model":"a"}')
def test_asking_for_usage_changes_nothing_else(data: bytes) -> None:
    """The body that asks for usage is the same but for that one member."""
    options = twin.last(twin.parse(data), "stream_options")
    if options is not None and not isinstance(options, twin.Members):
        return  # no provider takes it
    changed = twin.parse(request_peek.ask_usage(data))
    assert twin.last(twin.last(changed, "stream_options"), "include_usage") is True
    assert [pair for pair in changed if pair[0] != "stream_options"] == [
        pair for pair in twin.parse(data) if pair[0] != "stream_options"
    ]
    kept = [pair for pair in twin.last(changed, "stream_options") if pair[0] != "include_usage"]
    assert kept == [pair for pair in options or () if pair[0] != "include_usage"]


@given(documents(REQUESTS), UNICODE)
@example(b'{"model":"","N":null}', "")
def test_splice_changes_the_name_and_nothing_else(data: bytes, name: str) -> None:
    """The inserted model name reads back, and every other byte is unchanged."""
    found = request_peek.read_request(data)
    assume(found.error != request_peek.PeekError.PEEK_DUPLICATE)  # such as "N", which servers in Go take for "n"
    assert found.model is not None
    changed = json_text.replace(data, found.model_start, found.model_end, name)
    again = request_peek.read_request(changed)
    assert name == again.model
    assert data[: found.model_start] == changed[: again.model_start]
    assert data[found.model_end :] == changed[again.model_end :]


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2), (0, 5), (5, 6)])
def test_splice_stays_within_the_body(start: int, end: int) -> None:
    """A range outside the body is refused."""
    with pytest.raises(ValueError, match="outside a body of 4 bytes"):
        json_text.replace(b"abcd", start, end, "x")


@given(UNICODE)
def test_escapes_read_back(text: str) -> None:
    """Escaping and unescaping gives the same text, and json reads the same from it."""
    escaped = json_text.escape(text.encode())
    assert text.encode() == json_text.unescape(escaped)
    assert text == json.loads(b'"' + escaped + b'"')


@given(st.text('\\u0dDeE8c/"bnrtfx\n', max_size=24).map(str.encode))
@example(b"\\ud83d\\ude00")
@example(b"\\ud83d")
@example(b"\\ude00")
@example(b"\\ud83d\\u0041")
@example(b"\\ud83dxxxxxx")
@example(b"\\")
@example(b"\\u00e")
def test_unescape_knows_what_json_knows(raw: bytes) -> None:
    """Unescaping gives the result of json, and None exactly where json fails or leaves a lone surrogate."""
    try:
        text = json.loads(b'"' + raw + b'"')
        expected = text.encode()
    except ValueError:
        expected = None
    assert expected == json_text.unescape(raw)


@given(st.binary(max_size=20))
def test_unescape_passes_other_bytes_through(raw: bytes) -> None:
    """Bytes that are not an escape, a quote or a control character are unchanged, UTF-8 or not."""
    plain = bytes(byte for byte in raw if byte >= 0x20 and byte not in b'"\\')
    assert plain == json_text.unescape(plain)


def test_gemini_counts_sound_and_pictures_by_modality() -> None:
    """What of sound and pictures came from a cache is in the cached part only, so that no token counts twice."""
    found = response_peek.read_response(
        b'{"candidates":[{}],"usageMetadata":{"promptTokenCount":1000,"cachedContentTokenCount":300,'
        b'"candidatesTokenCount":50,"totalTokenCount":1050,'
        b'"promptTokensDetails":[{"modality":"TEXT","tokenCount":100},{"modality":"AUDIO","tokenCount":600},'
        b'{"tokenCount":300,"modality":"IMAGE"}],'
        b'"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":250},{"modality":"IMAGE","tokenCount":50}],'
        b'"candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":40},{"modality":"TEXT","tokenCount":10}]}}'
    )
    tokens = found.tokens
    assert (tokens["prompt"], tokens["cached"], tokens["output"]) == (1000, 300, 50)
    assert (tokens["audio_prompt"], tokens["image_prompt"], tokens["audio_output"]) == (350, 250, 40)
