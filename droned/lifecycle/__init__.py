"""The life of one instance: a literal table, pure rules and a pure `step`."""
