"""Detection of renewed certificates: the files that the configuration names, looked at once a second.

Tools that renew certificates write a certificate and its key one after the other, and do not tell edge. So changed
files count when two looks agree and the pairs fit each other; until then the certificates from before stay in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config import certificates
from edge.control.file_watch import FilesWatch
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.config.schema import Config


class CertificateWatch:
    """Remembers the marks of the files at the last poll, and those of what is in use."""

    def __init__(self) -> None:
        self._files = FilesWatch()

    def poll(self, config: Config) -> bool:
        """Return whether files of the configuration in force have changed, and can be used."""
        if not self._files.poll(certificates.files(config)):
            return False
        problems = list(certificates.problems(config))
        for problem in problems:
            logs.say(logs.ERROR, f"certificates have changed, and those from before stay in use: {problem.text()}")
        return not problems
