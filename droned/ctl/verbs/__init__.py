"""The verbs, one a file: each declares its arguments, makes its request, and has the answer shown.

A module here is imported when its verb is used; its `command` is what click runs.
"""
