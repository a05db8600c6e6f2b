"""Tests of the command table, the targets, the requests and the dispatcher."""
