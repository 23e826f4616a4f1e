"""Checks of the sections about outages: addresses of status pages, webhooks and proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config import addresses
from edge.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.problems import Path
    from edge.config.schema import Config
    from edge.config.schema_incidents import Alert


def incidents(config: Config) -> Iterator[Problem]:
    """Check status pages and webhooks."""
    yield from proxy(("status_pages", "proxy"), config.status_pages.proxy)
    seen: set[str] = set()
    for index, alert in enumerate(config.alerts):
        path: Path = ("alerts", index)
        yield from link((*path, "webhook"), alert.webhook)
        yield from proxy((*path, "proxy"), alert.proxy)
        if alert.playbooks:
            yield from link((*path, "playbooks"), alert.playbooks)
        if alert.webhook in seen:
            yield Problem((*path, "webhook"), "another entry has this webhook, so it would be told twice; join them")
        seen.add(alert.webhook)
        if form_of(alert) == "pagerduty" and not alert.secret:
            yield Problem((*path, "secret"), "PagerDuty needs the routing key of your service; write it as secret")
    for name, provider in config.providers.items():
        if provider.status_page:
            yield from link(("providers", name, "status_page"), provider.status_page)


def form_of(alert: Alert) -> str:
    """Return the format of what is sent, where ``auto`` is decided by the webhook."""
    if alert.format != "auto":
        return alert.format
    try:
        url = addresses.parse_link(alert.webhook)
    except ValueError:
        return "json"
    if url.host == "hooks.slack.com":
        return "slack"
    if url.host in ("events.pagerduty.com", "events.eu.pagerduty.com"):
        return "pagerduty"
    return "alertmanager" if url.path.endswith("/api/v2/alerts") else "json"


def proxy(path: Path, text: str) -> Iterator[Problem]:
    """Check a proxy: none, ``env``, or a URL."""
    if text in ("", "env"):
        return
    try:
        url = addresses.parse_base_url(text)
    except ValueError:
        url = None
    if url is None or url.tls or url.path:
        yield Problem(path, "not a proxy; write http://host:port, or env")


def link(path: Path, text: str) -> Iterator[Problem]:
    """Check an address that edge calls; it is not repeated, because people put keys into URLs."""
    try:
        url = addresses.parse_link(text)
    except ValueError as error:
        yield Problem(path, str(error).replace("a base URL", "an address").replace("base URL", "address"))
        return
    why = addresses.forbidden(url.host)
    if why:
        yield Problem(path, f"{url.host} must not be called: {why}")
    elif not url.tls and not addresses.is_private(url.host):
        yield Problem(path, "it is reached unencrypted across the internet; write https", severity="warning")
