"""Asks an HTTP proxy for a tunnel (CONNECT), and reads its answer."""

from native.io.preface cimport Preface

cdef class ConnectAnswer(Preface):
    cdef bytes head                 # what has come of the answer
    cdef int _judge(self) except -1
