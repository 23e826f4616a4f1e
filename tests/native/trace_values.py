"""Values of a traceparent for tests: a valid one, and a strategy of valid and almost valid ones."""

from __future__ import annotations

from hypothesis import strategies as st

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01".encode()
WORDS = st.integers(0, 2**64 - 1)
HEX = st.text("0123456789abcdef", min_size=1, max_size=34)
VALUES = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda *parts: "-".join(parts).encode(), HEX, HEX, HEX, HEX),
    st.builds(
        lambda version, high, low, span, flags, rest: (
            f"{version:02x}-{high:016x}{low:016x}-{span:016x}-{flags:02x}".encode() + rest
        ),
        st.sampled_from([0, 1, 254, 255]),
        WORDS,
        WORDS,
        WORDS,
        st.integers(0, 255),
        st.sampled_from([b"", b"", b"", b"-", b"-x", b"x", b" "]),
    ),
    st.builds(
        lambda place, byte: GOOD[:place] + bytes([byte]) + GOOD[place + 1 :], st.integers(0, 54), st.integers(0, 255)
    ),
)
