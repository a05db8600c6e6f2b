"""Tests of the daemon as a whole: options, ends, its own log."""
