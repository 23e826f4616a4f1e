#!/bin/sh
# Runs tests against the sanitized copy, where every memory access is checked.
#
# PYTHON is the interpreter, SANITIZED the copy that `make sanitize` built, TESTS what is run (tests/native), and LIMIT
# for how many seconds at most (600); arguments go to pytest. The interpreter itself is not instrumented, so the
# sanitizer's library is loaded first. Leaks are not reported, because Python keeps memory on purpose. Python's own
# allocator is bypassed, because it would hide overruns inside its arenas.
set -eu
cd "$(dirname "$0")/.."
library=$("${CC:-gcc}" -print-file-name=libasan.so)
[ "$library" != libasan.so ] || {
    echo "the sanitized run needs libasan, which comes with gcc: please install gcc" >&2
    exit 1
}
cd "$SANITIZED"
export LD_PRELOAD="$library"
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export PYTHONMALLOC=malloc
"$PYTHON" -c 'import os, sys, native.state.shared_state as board; sys.exit(not board.__file__.startswith(os.getcwd()))' || {
    echo "the sanitized run found another build of native/ than its own" >&2
    exit 1
}
exec timeout "${LIMIT:-600}" "$PYTHON" -m pytest -q -p no:cacheprovider "$@" "${TESTS:-tests/native}"
