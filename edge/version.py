"""The version of edge: the one place that packaging, the CLI and the response headers read it from."""

from typing import Final

VERSION: Final = "0.1.0"
