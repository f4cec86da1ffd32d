"""Runs over whole archives: what is to be done, done by many workers, and never lost.

`finding` names the inputs, `plan` says what is left of them, `work` does one file, an engine such
as `local` does many at once, and `run` keeps the record: `journal` while it goes on, `manifest`
at its end, a `PageRow` a page. Where files lie is a matter of a `store`: this machine, or a URL.
"""
