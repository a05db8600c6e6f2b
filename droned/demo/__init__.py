"""`droned demo`: a small real environment in the foreground, in folders of its own, that leaves nothing
behind.

Standard library only, since it runs before anything else is imported. The programs and the configuration are
package data: the demo works from a checkout and from an installed wheel.
"""
