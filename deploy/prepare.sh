#!/bin/sh
# Finds or installs what a build of edge needs. Prints the Python to use on stdout and everything else on stderr.
# Installs what is missing with apt if possible; otherwise names it in one sentence and stops. Arguments are packages
# of tools that some tests need; where they cannot be installed, those tests are skipped.
set -eu

suits() { # a Python 3.11 or newer that starts (a version manager's shim may exist and not run)
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if suits "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

has_headers() {
    "$1" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' >/dev/null 2>&1
}

has_compiler() { command -v "${CC:-cc}" >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1; }

has_openssl() { command -v pkg-config >/dev/null 2>&1 && pkg-config --exists 'openssl >= 3.0'; }

has_nghttp2() { command -v pkg-config >/dev/null 2>&1 && pkg-config --exists 'libnghttp2 >= 1.50'; }

as_root=none
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1; then
        as_root="sudo -n"
    fi
fi

install() { # names of Debian packages
    [ "$as_root" != none ] || return 1
    echo "installing with apt: $*" >&2
    $as_root apt-get update -qq >&2 &&
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "$@" >&2
}

refuse() {
    echo "edge cannot be built here yet: $1" >&2
    exit 1
}

python=$(find_python) || {
    install python3 python3-dev python3-venv || true
    python=$(find_python) || refuse "please install Python 3.11 or newer with its headers and venv module \
(Debian, Ubuntu: python3 python3-dev python3-venv), or name one: PYTHON=/path/to/python3 make"
}
version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')

lacking=""
has_compiler || lacking="$lacking gcc libc6-dev"
has_headers "$python" || lacking="$lacking $version-dev"
has_venv "$python" || lacking="$lacking $version-venv"
has_nghttp2 || lacking="$lacking libnghttp2-dev pkg-config"
has_openssl || lacking="$lacking libssl-dev"
if [ -n "$lacking" ]; then
    # shellcheck disable=SC2086  # package names are separate words
    install $lacking || true
    has_compiler && has_headers "$python" && has_venv "$python" && has_nghttp2 && has_openssl ||
        refuse "please install a C compiler, the headers and venv module of $python, libnghttp2 1.50 or newer \
and OpenSSL 3 with pkg-config (Debian, Ubuntu:$lacking)."
fi
[ $# = 0 ] || install "$@" || echo "not installed: $*" >&2
echo "$python"
