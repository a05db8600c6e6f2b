"""droned measured beside its peers, on one machine and in one run: `bin/bench`.

`managers` says how droned, supervisord and two yardsticks of our own are run
with the same programs; `rows` has one measurement a module, each of them a row
of the table of figures that droned has to reach; `faults` runs the fault
harness of tests/faults in full size. What comes out stands in RESULTS.md.

How a measurement is kept honest:

* The programs tell themselves when they were exec'd, by one write to a file
  (tests/programs/child.c); nothing polls the manager while it works.
* Repetitions are interleaved: one life of every manager, then the next round,
  so that a slow minute of the machine falls on all of them.
* What a life has written stays until all lives are over: the next one shall not
  pay for its removal.
* Kills come at random times, never in step with somebody's timer.
* Ratios are of medians of the same run. Under about 1.5 they mean nothing.
"""
