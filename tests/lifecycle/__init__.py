"""Tests of the life of an instance: rules, table, restart decision, issues, actions."""
