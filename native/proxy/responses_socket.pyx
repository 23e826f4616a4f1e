from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from native.codec.head cimport TUNNEL
from native.codec.json_member cimport member_text
from native.codec.json_text cimport unescape_json
from native.codec.request_peek cimport MODEL_LONGEST
from native.codec.turn_message cimport TURN_MALFORMED, TURN_OK, join_items, read_turn
from native.codec.websocket cimport (
    BINARY, CLOSE, GOING_AWAY, PING, POLICY, PONG, TEXT, TRY_LATER, UNSUPPORTED, close_payload,
    code_of_close, is_utf8, write_frame, write_text,
)
from native.http.connection_slot cimport ConnectionSlot
from native.io.clock cimport monotonic_ns
from native.proxy.admission cimport identify
from native.proxy.request cimport Identity, refusal
from native.proxy.router cimport OPERATION_RESPONSES, Route
from native.proxy.socket_request cimport SocketRequest
from native.proxy.socket_turn cimport new_turn
from native.proxy.steps cimport State
from native.state.callers cimport Caller

# What OpenAI documents of its own endpoint: how many turns run at once, and how many lanes have a name, of so many of
# these characters.
cdef int MOST_RUNNING = 16
cdef int MOST_LANES = 32
cdef Py_ssize_t LONGEST_LANE = 256
cdef bytes LANE_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
# Turns that wait behind others.
cdef int MOST_WAITING = 64
# The ids of conversations that are not kept any more; what they were is asked of no provider.
cdef int MOST_DROPPED = 256
# A response with a longer id is not gone on from.
cdef Py_ssize_t LONGEST_ID = 256
# How long edge waits for the client's Close behind its own.
cdef uint64_t CLOSING_NS = 1_000_000_000
# Deadlines are checked at least this often.
cdef uint64_t CHECK_NS = 2_000_000_000
cdef tuple JSON_CONTENT = (b"content-type", b"application/json")


cdef class Lane:
    def __repr__(self):
        return f"<Lane {self.front} waiting={len(self.waiting)}>"


cdef class SocketAlarm(Timer):
    cdef int fire(self, uint64_t now_ns) except -1:
        cdef ResponsesSocket socket = self.socket
        if socket is not None:
            socket.check(now_ns)


cdef class SocketTurns(TurnEvents):
    cdef int on_turn_message(self, SocketTurn turn, bytes message) except -1:
        if self.socket is not None:
            self.socket._say(<Lane>turn.lane, message)

    cdef int on_turn_pause(self, SocketTurn turn) except -1:
        if self.socket is not None:
            self.socket._ping(monotonic_ns())

    cdef int on_turn_failed(self, SocketTurn turn) except -1:
        # not now: its exchange is running
        self.socket.runtime.acceptor.reactor.loop.call_soon(self._cancel, turn)

    cdef int on_turn_over(self, SocketTurn turn) except -1:
        cdef ResponsesSocket socket = self.socket
        cdef Lane lane = <Lane>turn.lane
        if socket is not None:
            lane.turn = None
            socket.running -= 1
            socket._turn_over(lane, turn)

    def _cancel(self, SocketTurn turn):
        cdef ServerEvents events = turn.events
        if events is not None:
            events.on_client_gone()
            turn._end()


cdef ResponsesSocket open_socket(Exchange upgrade):
    """Return what serves a WebSocket. It is accepted behind the events that the connection still has for its request."""
    cdef ResponsesSocket socket = ResponsesSocket.__new__(ResponsesSocket)
    cdef Runtime runtime = upgrade.runtime
    upgrade._enter(State.LOCAL)
    socket.runtime = runtime
    socket.stream = upgrade.stream
    socket.share = upgrade.stream.share
    socket.upgrade = upgrade
    socket.head = upgrade.request.head
    # Codex names the transport in openai-beta, and a target is asked over HTTP. A key that makes one request of several
    # would make one of all turns.
    socket.fields = [
        pair for pair in socket.head.fields
        if not (<bytes>(<tuple>pair)[0]).startswith(b"sec-websocket-")
        and pair[0] != b"content-type" and pair[0] != b"idempotency-key"
        and not (pair[0] == b"openai-beta" and b"websocket" in pair[1])
    ]
    socket.fields.append(JSON_CONTENT)
    socket.lanes = {}
    socket.conversations = {}
    socket.dropped = {}
    socket.opened_ns = socket.heard_ns = socket.pinged_ns = monotonic_ns()
    socket.longest_ns = runtime.router.snapshot.limits.websocket_age_ns
    socket.frames = FrameReader(runtime.limits.body)
    socket.turns = SocketTurns.__new__(SocketTurns)
    socket.turns.socket = socket
    socket.alarm = SocketAlarm.__new__(SocketAlarm)
    socket.alarm.socket = socket
    runtime.sockets.add(socket)
    runtime.acceptor.reactor.loop.call_soon(socket._accept)
    return socket


cdef class ResponsesSocket(ServerEvents):
    """One WebSocket. A turn is an exchange, which is admitted, charged, recorded and failed over as any request is."""

    def __repr__(self):
        return f"<ResponsesSocket running={self.running} waiting={self.waiting}>"

    def _accept(self):
        if self.stream is not None and self.upgrade is not None:
            self.accept()

    cdef accept(self):
        """Send the 101, behind which the connection is a tunnel."""
        cdef Exchange upgrade = self.upgrade
        cdef list fields = upgrade.response.prepare(101, [
            (b"upgrade", b"websocket"), (b"sec-websocket-accept", (<SocketRequest>upgrade.request).accepted),
        ], b"")
        self.upgrade = None
        upgrade._close(101)
        self._arm(monotonic_ns())
        self.stream.send_head(101, fields, TUNNEL)
        if self.stream is not None and not self.running:
            self._rest()

    # --- the client --------------------------------------------------------------------------------------------------
    cdef int on_request_data(self, bytes data) except -1:
        cdef FrameReader frames = self.frames
        self.heard_ns = monotonic_ns()
        cdef list found = frames.feed(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if self.behind is None:
            self._take_all(found)
        else:
            self.behind.extend(found)
        if self.stream is None:
            return 0
        if frames.fault and self.behind is None:
            return self._close(frames.fault, frames.reason)
        self.frame_bytes = self.runtime.acceptor.recount(self.share, self.frame_bytes, frames.size)
        if frames.size and self.runtime.acceptor.room(self.share) < 0:
            self._close(TRY_LATER, "this node's buffers for requests are full")

    cdef int on_request_end(self, list trailers) except -1:
        return 0        # of the request that opened the connection

    cdef int on_client_gone(self) except -1:
        self._forget()

    cdef int on_client_congested(self) except -1:
        cdef ServerEvents events
        for lane in list(self.lanes.values()):
            events = None if (<Lane>lane).turn is None else (<Lane>lane).turn.events
            if events is not None:
                events.on_client_congested()

    cdef int on_client_drained(self) except -1:
        cdef ServerEvents events
        if self.pong is not None and self.stream is not None:
            self.stream.send_data(write_frame(PONG, self.pong))
            self.pong = None
        for lane in list(self.lanes.values()):
            events = None if (<Lane>lane).turn is None else (<Lane>lane).turn.events
            if events is not None:
                events.on_client_drained()
        if self.behind is not None and self.stream is not None:
            self._take_behind()

    cdef int _take_all(self, list found) except -1:
        """Take what has come up to the first message that finds the client not reading. What is behind waits, unread."""
        cdef Py_ssize_t i = 0
        for opcode, payload in found:
            if opcode == TEXT and not self.closing_ns and self.stream.congested():
                self.behind = found[i:]
                self.behind_bytes = self.runtime.acceptor.recount(
                    self.share, 0, sum([PyBytes_GET_SIZE(<bytes>rest) for _, rest in self.behind])
                )
                return self.stream.pause()
            self._take(opcode, payload)
            if self.stream is None:
                return 0
            i += 1

    cdef int _take_behind(self) except -1:
        """The client reads again: take what has waited."""
        cdef list found = self.behind
        self.behind = None
        self.behind_bytes = self.runtime.acceptor.recount(self.share, self.behind_bytes, 0)
        self._take_all(found)
        if self.stream is None or self.behind is not None:
            return 0
        self.heard_ns = monotonic_ns()
        self.stream.resume()
        if self.frames.fault:
            self._close(self.frames.fault, self.frames.reason)

    cdef int _take(self, int opcode, bytes payload) except -1:
        cdef int code
        if opcode == CLOSE:
            code = code_of_close(payload)
            if not self.closing_ns:
                self.stream.send_data(write_frame(CLOSE, close_payload(code, "") if code else b""))
            return self._end()
        if self.closing_ns:
            return 0
        if opcode == PING:
            if self.stream.congested():
                self.pong = payload     # only the last needs an answer (RFC 6455 5.5.3), so that none pile up
            else:
                self.stream.send_data(write_frame(PONG, payload))
        elif opcode == TEXT:
            self._take_turn(payload)
        elif opcode == BINARY:
            self._close(UNSUPPORTED, "a message is binary; send JSON as text")

    # --- turns -------------------------------------------------------------------------------------------------------
    cdef int _take_turn(self, bytes content) except -1:
        cdef TurnMessage message = read_turn(content)
        cdef Lane lane = <Lane>self.lanes.get(None)
        cdef bytes name = message.lane
        if lane is None:
            self.lanes[None] = lane = new_lane(None)
        if message.fault != TURN_OK:
            return self._refuse(
                lane, "socket_member" if message.fault > TURN_MALFORMED else "malformed_json",
                f"{message.fault_at}" if message.fault > TURN_MALFORMED else f"1:{message.fault_at}",
            )
        if name is not None:
            if not 0 < PyBytes_GET_SIZE(name) <= LONGEST_LANE or name.strip(LANE_CHARACTERS):
                return self._refuse(lane, "socket_lane_name", "")
            if name in self.lanes:
                lane = <Lane>self.lanes[name]
            elif len(self.lanes) > MOST_LANES:
                return self._refuse(new_lane(name), "socket_lanes", f"{MOST_LANES}")
            else:
                self.lanes[name] = lane = new_lane(name)
        if message.kind != b"response.create":
            return self._refuse(
                lane, "socket_kind", "none" if message.kind is None else message.kind.decode("utf-8", "replace")
            )
        if message.background:
            return self._refuse(lane, "socket_background", "")
        if self.leaving:
            return self._refuse(lane, "socket_age" if self._is_aged(monotonic_ns()) else "socket_stopping", "")
        if self.waiting >= MOST_WAITING:
            return self._refuse(lane, "socket_queue", f"{MOST_WAITING}")
        if not self._hold(PyBytes_GET_SIZE(content)):
            return self._refuse(lane, "buffers_full", "1")
        lane.waiting.append(message)
        self.waiting += 1
        return self._begin_waiting()

    cdef int _refuse(self, Lane lane, str kind, str detail) except -1:
        """Answer a message that is no turn, or begins none."""
        reply = self.runtime.replies.problem(kind, detail)
        return self._say(lane, self.runtime.replies.socket_error(reply.status, reply.fields, reply.content))

    cdef int _begin_waiting(self) except -1:
        """Begin turns, in a loop, while there is one that may run: a turn may be over before this returns."""
        cdef Lane lane
        cdef TurnMessage message
        cdef bint again = True
        if self.beginning or self.stream is None:
            return 0
        self.beginning = True
        while again and self.stream is not None and self.running < MOST_RUNNING:
            again = False
            for item in list(self.lanes.values()):
                lane = <Lane>item
                if lane.turn is not None or not lane.waiting or self.running >= MOST_RUNNING or self.stream is None:
                    continue
                again = True
                message = <TurnMessage>lane.waiting.pop(0)
                self.waiting -= 1
                self._hold(-PyBytes_GET_SIZE(message.content))
                if self.leaving:
                    self._refuse(lane, "socket_stopping", "")
                else:
                    self._begin(lane, message)
        self.beginning = False
        if self.stream is not None and not self.running:
            self._rest()

    cdef int _begin(self, Lane lane, TurnMessage message) except -1:
        """Open an exchange for a turn."""
        cdef SocketTurn turn
        cdef Exchange exchange
        cdef ServerEvents events
        cdef bytes before = None
        cdef bytes body
        if message.previous is not None:
            before = <bytes>self.conversations.get(message.previous)
            if before is None and message.previous in self.dropped:
                return self._refuse(lane, "socket_previous", message.previous.decode("utf-8", "replace"))
        if message.warms_up:
            return self._warm_up(lane, message, before)
        turn = new_turn(self.turns, self.stream, self.runtime, lane)
        lane.turn = turn
        if self.running == 0:
            (<ConnectionSlot>self.stream.slot).busy()
        self.running += 1
        body = message.body(before)
        if before is not None or message.previous is None:
            turn.conversation = message.items(before)
            if PyBytes_GET_SIZE(turn.conversation) > self.runtime.limits.body or (
                not self._hold(PyBytes_GET_SIZE(turn.conversation))
            ):
                turn.conversation = None
            else:
                turn.kept = PyBytes_GET_SIZE(turn.conversation)
        exchange = Exchange.__new__(Exchange)
        turn.events = exchange
        exchange.receive(self.runtime, turn, self._turn_head(PyBytes_GET_SIZE(body)))
        events = turn.events
        if events is not None:
            events.on_request_data(body)
        events = turn.events
        if events is not None:
            events.on_request_end(None)

    cdef Head _turn_head(self, Py_ssize_t length):
        """Return the head of the request that a turn stands for: that of the connection, but for what opened it."""
        cdef Head head = Head.__new__(Head)
        head.method = b"POST"
        head.target = self.head.target
        head.path = self.head.path
        head.authority = self.head.authority
        head.host = self.head.host
        head.fields = self.fields
        head.length = length
        head.version = 11
        head.keep_alive = True
        head.content_type = JSON_CONTENT[1]
        return head

    cdef int _turn_over(self, Lane lane, SocketTurn turn) except -1:
        """Keep the conversation, if no provider does, and begin what waits behind the turn."""
        cdef bytes items = None
        cdef bytes name
        self._hold(-turn.kept)
        if turn.response is not None and turn.conversation is not None:
            name = member_text(turn.response, 0, b"response", b"id")
            items = None if name is None or PyBytes_GET_SIZE(name) > LONGEST_ID else self.runtime.replies.socket_items(turn.response)
            if items is not None:
                self._keep(lane, name, join_items(turn.conversation, items))
        turn.response = turn.conversation = None
        self._begin_waiting()

    cdef Refusal _judge_warm_up(self, bytes model):
        """Return why a turn that asks nobody is refused: its caller is none any more, or may not use the model."""
        cdef Identity who = Identity.__new__(Identity)
        cdef Caller caller
        cdef Refusal why
        cdef Route route
        cdef bytes name = unescape_json(model[1:-1]) if model[0] == c'"' else None
        who.key = -1
        who.priority = 1
        who.credential_field = -1
        why = identify(self.runtime, self.stream, self._turn_head(0), OPERATION_RESPONSES, monotonic_ns(), who)
        if why is not None:
            return why
        if name is None:
            route = self.runtime.router.only.get(OPERATION_RESPONSES)
            if route is None:
                return refusal("model_missing")
            name = route.name.encode()
        if PyBytes_GET_SIZE(name) > <int>MODEL_LONGEST:
            return refusal("model_too_long", str(<int>MODEL_LONGEST))
        caller = who.caller
        route = self.runtime.router.model(name)
        if caller is not None and not caller.everything and not caller.may_use(name) and (
            route is None or not route.is_pattern or not caller.may_use(route.name.encode())
        ):
            return refusal("model_not_allowed", name.decode("utf-8", "replace"))
        return refusal("unknown_model", name.decode("utf-8", "replace")) if route is None else None

    cdef int _warm_up(self, Lane lane, TurnMessage message, bytes before) except -1:
        """Answer a turn that is to generate nothing: its items are kept for the next."""
        cdef bytes name = b"resp_" + self.runtime.next_id()
        cdef bytes items = message.items(before)
        cdef Refusal why = self._judge_warm_up(message.model_text())
        if why is not None:
            reply = self.runtime.replies.problem(why.kind, why.detail)
            return self._say(lane, self.runtime.replies.socket_error(
                reply.status, reply.fields if why.fields is None else [*reply.fields, *why.fields], reply.content
            ))
        if before is None and message.previous is not None:
            return self._refuse(lane, "socket_previous", message.previous.decode("utf-8", "replace"))
        if not self._keep(lane, name, items):
            return self._refuse(lane, "buffers_full", "1")
        for event in self.runtime.replies.socket_warm_up(name, message.model_text(), message.previous):
            self._say(lane, event)

    cdef int _keep(self, Lane lane, bytes name, bytes items) except -1:
        """Keep the items up to a response as the last of its lane; 0 = there is no room for them."""
        if lane.latest is not None:
            self._drop(lane.latest)
            lane.latest = None
        if name in self.conversations:
            self._drop(name)
        if self.conversation_bytes + PyBytes_GET_SIZE(items) > self.runtime.limits.body or (
            not self._hold(PyBytes_GET_SIZE(items))
        ):
            self._note_dropped(name)
            return 0
        self.conversations[name] = items
        self.conversation_bytes += PyBytes_GET_SIZE(items)
        self.dropped.pop(name, None)
        lane.latest = name
        return 1

    cdef int _drop(self, bytes name) except -1:
        cdef bytes items = <bytes>self.conversations.pop(name, None)
        if items is not None:
            self.conversation_bytes -= PyBytes_GET_SIZE(items)
            self._hold(-PyBytes_GET_SIZE(items))
            self._note_dropped(name)

    cdef int _note_dropped(self, bytes name) except -1:
        self.dropped[name] = None
        if len(self.dropped) > MOST_DROPPED:
            del self.dropped[next(iter(self.dropped))]

    cdef bint _hold(self, Py_ssize_t more) noexcept:
        """Count bytes that the connection has this node hold; False = there is no room for them."""
        if not self.runtime.acceptor.hold(self.share, more):
            return False
        self.held += more
        return True

    # --- what is said ------------------------------------------------------------------------------------------------
    cdef int _say(self, Lane lane, bytes message) except -1:
        if self.stream is None or self.closing_ns:
            return 0
        if not is_utf8(message):
            message = message.decode("utf-8", "replace").encode()
        self.stream.send_data(write_text(lane.front, message, 1))

    cdef int _ping(self, uint64_t now) except -1:
        """Show a client that waits, and what stands between, that the connection lives."""
        if self.stream is None or self.closing_ns or self.stream.congested():
            return 0
        self.pinged_ns = now
        self.stream.send_data(write_frame(PING, b""))

    # --- deadlines and the end ---------------------------------------------------------------------------------------
    cdef bint _is_aged(self, uint64_t now) noexcept:
        return now >= self.opened_ns + self.longest_ns

    cdef int check(self, uint64_t now) except -1:
        cdef uint64_t silent = now - self.heard_ns if now > self.heard_ns else 0
        if self.closing_ns:
            if now >= self.closing_ns:
                return self._end()
        elif not self.leaving and (self._is_aged(now) or (<ConnectionSlot>self.stream.slot).aged):
            self._leave()
        elif self.behind is not None:
            pass        # it is not read from: how long a client may not read is the connection's to judge
        elif self.frames.is_within() and silent > self.runtime.limits.client_idle_ns:
            self._close(POLICY, "a message stopped coming")
        elif silent > self.runtime.limits.idle_ns:
            return self._end()      # not even the Pings were answered
        elif now > max(self.heard_ns, self.pinged_ns) + self.runtime.limits.keepalive_comment_ns:
            self._ping(now)
        if self.stream is not None:
            self._arm(now)

    cdef int _arm(self, uint64_t now) except -1:
        cdef uint64_t soon = min(CHECK_NS, min(self.runtime.limits.keepalive_comment_ns, self.runtime.limits.idle_ns) // 2)
        self.runtime.acceptor.coarse.arm(self.alarm, self.closing_ns if self.closing_ns else now + soon)

    cdef int retire(self) except -1:
        if self.upgrade is None:
            self._leave()

    cdef int _leave(self) except -1:
        """Begin no further turn: those that wait are refused. The connection is closed once none runs."""
        if not self.leaving:
            self.leaving = True
            self._begin_waiting()

    cdef int _rest(self) except -1:
        """Close if the connection is to end, because no turn runs. Else another connection may take its place."""
        if self._is_aged(monotonic_ns()):
            self._refuse(new_lane(None), "socket_age", "")
            self._close(GOING_AWAY, "the connection is too old")
        elif self.leaving or (<ConnectionSlot>self.stream.slot).retires():
            self._close(GOING_AWAY, "this edge is stopping" if self.runtime.acceptor.draining else "open another connection")
        else:
            (<ConnectionSlot>self.stream.slot).rest()

    cdef int _close(self, int code, str reason) except -1:
        if self.stream is None or self.closing_ns:
            return 0
        self._stop_turns()
        self.leaving = True
        if self.behind is not None:
            self.behind = None
            self.behind_bytes = self.runtime.acceptor.recount(self.share, self.behind_bytes, 0)
            self.stream.resume()
        self.stream.send_data(write_frame(CLOSE, close_payload(code, reason)))
        self.closing_ns = monotonic_ns() + CLOSING_NS
        self._arm(self.closing_ns)

    cdef int _end(self) except -1:
        """End the tunnel."""
        cdef ServerStream stream = self.stream
        self._forget()
        if stream is not None:
            stream.send_end(None)

    cdef int _stop_turns(self) except -1:
        """Cancel what runs, and drop what waits: nobody hears the answers."""
        cdef Lane lane
        cdef SocketTurn turn
        cdef ServerEvents events
        for item in list(self.lanes.values()):
            lane = <Lane>item
            turn = lane.turn
            lane.turn = None
            for message in lane.waiting:
                self._hold(-PyBytes_GET_SIZE((<TurnMessage>message).content))
            lane.waiting = []
            if turn is not None:
                self._hold(-turn.kept)
                events = turn.events
                turn.over = True
                turn.owner = None
                turn.events = None
                turn._count(0)
                if events is not None:
                    events.on_client_gone()
        self.running = self.waiting = 0

    cdef int _forget(self) except -1:
        """Cancel what runs and drop what is kept: the connection is over."""
        cdef Exchange upgrade = self.upgrade
        if self.stream is None:
            return 0
        self._stop_turns()
        self.stream = None
        self.upgrade = None
        self.frame_bytes = self.runtime.acceptor.recount(self.share, self.frame_bytes, 0)
        self.behind = None
        self.behind_bytes = self.runtime.acceptor.recount(self.share, self.behind_bytes, 0)
        self._hold(-self.held)
        self.conversations = {}
        self.turns.socket = None
        self.alarm.socket = None
        self.runtime.acceptor.coarse.disarm(self.alarm)
        self.runtime.sockets.discard(self)
        if upgrade is not None:
            upgrade.on_client_gone()


cdef Lane new_lane(bytes name):
    cdef Lane lane = Lane.__new__(Lane)
    lane.front = b"{" if name is None else b'{"stream_id":"' + name + b'",'
    lane.waiting = []
    return lane
