"""Locks and unlocks projects: looks again at what was spent, decides, does it, and writes it down.

A message's way: `handler` finds the project, claims it, and looks again: what is known of it is the `request`.
`carry_out` asks `domain.locks` what is to be done, and does it, or says what it would do: it sees and changes Azure's
locks and machines through `groups`, and writes down through `records`, with the words of `mails`.

One message at a time works on a project, and every step can be done twice: whoever comes second, or again after a
crash, finds the lock there and the decision written down, and has nothing left to do.
"""
