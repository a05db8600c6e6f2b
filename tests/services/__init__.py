"""Tests of the daemon's services, with fake clocks and a guardian in memory."""
