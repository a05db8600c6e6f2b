"""The tests of droned: `bin/check` runs the pure ones, `bin/test` all of them."""
