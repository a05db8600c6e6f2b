"""Tests of the configuration: strict YAML, keys, layers, variables, and the files themselves."""
