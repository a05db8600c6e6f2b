"""From the text of a configuration to checked values: text in, values out, no I/O.

`load` takes the bytes of all files and gives one `Configuration`, or one
`ConfigurationError` that lists everything that is wrong.
"""

from droned.config.build import load
from droned.config.launch import launch_order

__all__ = ["launch_order", "load"]
