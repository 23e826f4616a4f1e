from native.codec.grpc cimport unframe
from native.proxy.kept_paths cimport dialect_of_client
from native.proxy.request cimport Refusal, refusal
from native.proxy.router cimport OPERATION_MODELS, written_out

# The largest message to a gRPC method of edge's own. Health checks need no key, and these messages do not count towards
# limits.max_buffered, so they must be small.
cdef Py_ssize_t LOCAL_LIMIT = 4096


cdef class LocalCall(Request):
    """A gRPC call that edge answers itself, message by message."""

    cdef Refusal take_data(self, bytes data):
        """Collect whole messages for the exchange to answer."""
        cdef Py_ssize_t used
        data = self.unread + data if self.unread else data
        self.messages = []
        used = unframe(data, 0, LOCAL_LIMIT, self.messages)
        if used < 0:
            return refusal("compressed_call" if used == -1 else "body_too_large", str(LOCAL_LIMIT))
        self.unread = data[used:]
        return None

    cdef list answer(self, list answers):
        for message in self.messages:
            code, text, more = self.runtime.calls.answer(
                self.head.path, message, self.runtime.router.snapshot, self.identity.caller
            )
            answers.extend(more)
            if code:
                return self.runtime.replies.call_end(code, text)
        return None


cdef class LocalQuery(Request):
    """A request over HTTP that edge answers itself: the list of models, one model, /healthz, or a refusal."""

    cdef tuple answer(self):
        cdef bytes path = self.head.path
        cdef str dialect = dialect_of_client(self.head)
        if self.operation == OPERATION_MODELS:
            path = b"/v1" + path[7:] if path.startswith(b"/v1beta/") else written_out(path)
        status, fields, content = self.runtime.local(
            self.operation, self.head.method, path, self.runtime.router.snapshot, self.identity.caller,
            dialect,
        )
        if status >= 400 and dialect != "openai" and self.runtime.translations is not None:
            content = self.runtime.translations.own_error(dialect, status, content, "")
        return status, list(fields), content
