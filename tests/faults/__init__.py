"""The fault harness: droned is killed and starved while an outside observer watches what it keeps running.

Nothing here believes droned's own word about what is alive. `observer` reads
the process table, `commander` gives commands and writes down what it was told,
`model` compares both with what droned says it remembers. `scenarios` holds one
module a kind of fault; each is a function from a size to a `Verdict`. The live
tests run them small, `bin/bench --faults` in full size.
"""
