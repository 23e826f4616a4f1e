"""``edge target weight``: what is written as a weight."""

from __future__ import annotations

import pytest

from edge.cli.main import main


@pytest.mark.parametrize("text", ["heavy", "nan", "inf", "1,5", ""])
def test_what_is_no_weight_is_named(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The error repeats what was written and says what may be; no node is asked."""
    with pytest.raises(SystemExit) as ended:
        main(["target", "weight", "a/b", text, "--reason", "why", "--admin", "http://127.0.0.1:9"])
    assert ended.value.code == 2
    assert f"{text!r} is not a weight; write a number such as 0.5, or configured" in capsys.readouterr().err
