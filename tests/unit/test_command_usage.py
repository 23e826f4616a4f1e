"""What a command line says of arguments that its command does not know."""

from __future__ import annotations

import pytest

from edge.cli.main import main


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["keys", "create", "team-a", "--requests-per-minute", "60"], ["usage: edge keys create", "[--rpm N]"]),
        (["status", "--colour"], ["usage: edge status", "[--watch"]),
        (["target", "drain", "a/b", "c", "--reason", "why"], ["usage: edge target drain", "--reason"]),
        (["--verbose", "status"], ["usage: edge [-h] [--version]"]),
    ],
)
def test_its_own_usage_is_printed(words: list[str], usage: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The usage names the arguments that the command has, as the whole edge's would not."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert all(each in said for each in [*usage, "error: unrecognized arguments: "])
