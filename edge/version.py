"""What version is this? One place, read by packaging, the CLI and the answer headers."""

from typing import Final

VERSION: Final = "0.1.0"
