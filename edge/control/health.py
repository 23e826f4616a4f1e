"""Health checks of gRPC services by grpc.health.v1: each target is asked for the service that it is a target of.

A server that does not know the name is asked for its health as a whole.
A target that answers NOT_SERVING is taken out of rotation until it answers otherwise. A target without the health
service is left to its circuit breaker and checked again now and then. A check that fails has no effect: the circuit
breaker sees failures sooner, so only an explicit status counts. Source: gRPC Health Checking Protocol.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge import clock
from edge.control.rounds import Rounds
from edge.native import Outcome
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import grpc
    from grpc_health.v1 import health_pb2

    from edge.native import SharedState
    from edge.terms.snapshot import Target, UpstreamTls

_S: Final = 1_000_000_000
PERIOD_NS: Final = 5 * _S
# A server without the health service will hardly add it, but a new build at the same address may have it.
WITHOUT_NS: Final = 60 * _S
LIMIT_S: Final = 2.0
AT_ONCE: Final = 16
# NOT_SERVING expires after this time, so that a control process that died keeps no target out of rotation.
HOLDS_NS: Final = 3 * PERIOD_NS
NOT_SERVING: Final = Outcome.FAIL_STATUS


class HealthChecks:
    """Runs at most one check per target, and :data:`AT_ONCE` in total; channels are reused between checks.

    Args:
        shared_state: where a target is taken out of rotation and put back.
    """

    def __init__(self, shared_state: SharedState) -> None:
        self._shared_state = shared_state
        self._rounds = Rounds("health check", self._check, period_ns=PERIOD_NS, first_ns=_S, at_once=AT_ONCE)
        self._closing: set[asyncio.Task[None]] = set()
        self._channels: dict[str, tuple[tuple[str, int, UpstreamTls | None], grpc.aio.Channel]] = {}
        self._quarantined: set[str] = set()

    def tend(self, targets: Iterable[Target], now_ns: int, chance: Callable[[], float]) -> None:
        """Start the checks that are due, and forget targets that no longer exist.

        Args:
            targets: all targets; those with ``health`` set are checked.
            now_ns: monotonic nanoseconds.
            chance: returns a random number in [0, 1), for jitter.
        """
        checked = {target.id: target for target in targets if target.health is not None}
        self._quarantined &= checked.keys()
        for name in self._channels.keys() - checked.keys():
            self._close(name)
        self._rounds.tend(checked.values(), now_ns, chance)

    async def stop(self) -> None:
        """Cancel running checks and close every channel."""
        await self._rounds.stop()
        for name in list(self._channels):
            self._close(name)
        await asyncio.gather(*self._closing)

    async def _check(self, target: Target) -> None:
        # most nodes check nothing, and gRPC takes about 10 MiB
        import grpc  # noqa: PLC0415
        from grpc_health.v1 import health_pb2  # noqa: PLC0415

        channel = self._channel(target)
        try:
            answer = await _asked(channel, target.health or "")
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                self._rounds.postpone(target.id, clock.now_ns() + WITHOUT_NS)
                self._serving(target)
            elif error.code() is grpc.StatusCode.NOT_FOUND:
                self._serving(target)
            logs.say(logs.DEBUG, "health check", target=target.id, code=error.code().name)
            return
        if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
            self._quarantined.add(target.id)
            self._shared_state.set_quarantine(target.slot, NOT_SERVING, clock.now_ns() + HOLDS_NS)
        else:
            self._serving(target)

    def _channel(self, target: Target) -> grpc.aio.Channel:
        """Return the target's channel, or a new one if a reload changed its address or TLS settings."""
        address = (target.host, target.port, target.tls)
        known = self._channels.get(target.id)
        if known is not None and known[0] == address:
            return known[1]
        self._close(target.id)
        channel = open_channel(target)
        self._channels[target.id] = (address, channel)
        return channel

    def _close(self, name: str) -> None:
        known = self._channels.pop(name, None)
        if known is not None:
            task = asyncio.get_running_loop().create_task(known[1].close(None))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _serving(self, target: Target) -> None:
        """End the quarantine of a target, but only if a health check set it."""
        if target.id in self._quarantined:
            self._quarantined.discard(target.id)
            if self._shared_state.read_target(target.slot, clock.now_ns())["quarantine_reason"] == NOT_SERVING:
                self._shared_state.clear_quarantine(target.slot)


async def _asked(channel: grpc.aio.Channel, service: str) -> health_pb2.HealthCheckResponse:
    """Return the health of a service, or of the whole server where it knows no such service."""
    import grpc  # noqa: PLC0415  # as above
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    check = health_pb2_grpc.HealthStub(channel).Check
    try:
        return await check(health_pb2.HealthCheckRequest(service=service), timeout=LIMIT_S)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND or not service:
            raise
    return await check(health_pb2.HealthCheckRequest(), timeout=LIMIT_S)


def open_channel(target: Target) -> grpc.aio.Channel:
    """Return a channel to a target of its own, with the target's TLS settings."""
    import grpc  # noqa: PLC0415 - see HealthChecks._check

    host = f"[{target.host}]" if ":" in target.host else target.host
    address = f"{host}:{target.port}"
    # A subchannel pool of its own: otherwise gRPC shares connections, and so their failures, between channels. No proxy
    # from the environment, as for exchanges: it is for outside traffic.
    options: list[tuple[str, object]] = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    if target.tls is None:
        return grpc.aio.insecure_channel(address, options=options)
    tls = target.tls
    credentials = grpc.ssl_channel_credentials(
        None if tls.ca is None else Path(tls.ca).read_bytes(),
        None if tls.key is None else Path(tls.key).read_bytes(),
        None if tls.cert is None else Path(tls.cert).read_bytes(),
    )
    options.append(("grpc.ssl_target_name_override", tls.server_name))
    return grpc.aio.secure_channel(address, credentials, options=options)
