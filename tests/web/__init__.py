"""Tests of the HTTP API: resources, streams and limits, without a socket."""
