from native.codec.shown cimport Shown
from native.io.atomics cimport add64
from native.http.stream cimport Acceptor
from native.proxy.answer_reader cimport AnswerReader
from native.proxy.hooks import ShownAnswer
from native.proxy.retry cimport repeatable
from native.state.shared_state cimport DEADLINE, R_RESCUES


cdef keep_or_release(Request request, AnswerReader reader):
    cdef Acceptor acceptor = request.runtime.acceptor
    if reader.keeps and acceptor.buffered <= acceptor.buffered_limit // 2:
        return
    reader.rescues = reader.keeps = False
    reader.opening = None
    if reader.scanner is not None:
        reader.scanner.shown = None
    reader.release()
    request.release()


cdef bint may_resume(Response response, Selection selection, Attempt attempt, int outcome, int begun, uint64_t now):
    cdef AnswerReader reader = attempt.reader
    cdef Request request = response.request
    cdef ModelRequest asked
    cdef Shown shown
    if not reader.rescues or response.spoiled or outcome == <int>DEADLINE:
        return False
    asked = <ModelRequest>request
    if asked.continuation is not None:
        if not asked.continuation.may_go_on:
            return False
        selection.narrow(<uint64_t>-1)
    else:
        shown = None if reader.scanner is None else reader.scanner.shown
        if shown is None or shown.spoiled or shown.finished or shown.size == 0 or reader.opening is None:
            return False
        selection.narrow(request.route.rescuers[attempt.facts.index])
    return repeatable(request, attempt, outcome, begun, now) and selection.another(now, 0)


cdef bint prepare(ModelRequest request, Response response, Attempt attempt, AttemptResult result):
    cdef AnswerReader reader = attempt.reader
    if request.continuation is None:
        try:
            request.continuation = request.runtime.translations.resume(
                ShownAnswer(
                    "completions" if request.dialect is None else request.dialect, request.content, request.asked_name(),
                    reader.opening, reader.scanner.shown.take(), request.identifier.decode(),
                ),
                response.dialects,
            )
        except ValueError:
            return False
        reader.opening = None
        reader.scanner.shown.spoil()        # the continuation has it
    request.continuation.add_usage(result.usage.prompt_tokens, result.usage.output_tokens)
    request.written = None
    return count_text(request)


cdef bint count_text(ModelRequest request):
    cdef Py_ssize_t size = request.continuation.size
    if size == request.text_held:
        return True
    if not request.hold(request.holding + size - request.text_held):
        request.continuation.forget()
        return False
    request.text_held = size
    return True


cdef expect(ModelRequest request, Response response, Attempt attempt, Attempt broken, uint64_t now):
    cdef tuple written = request.written_for(attempt.upstream)
    cdef str told = f"{attempt.target.id} goes on, {broken.target.id} broke off"
    if written is not None and written[2]:
        told += f"; dropped: {', '.join(written[2])}"
    add64(&request.route.rec.count[<int>R_RESCUES], 1)
    request.continuation.begin(attempt.upstream.dialect, attempt.target.plan.prefill)
    response.resume(attempt, request.continuation, told, now)
