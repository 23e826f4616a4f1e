"""HTTP/1.1 and HTTP/2 connections to clients and upstreams, and the pools that keep the latter."""
