"""Metrics, traces and logs.

``catalog`` names every metric, ``meters`` reads the values, ``exposition`` renders them for Prometheus, ``spans`` makes
traces, and ``logs`` writes the log.
"""
