"""Locks and unlocks projects: looks again at what was spent, decides, does it, and writes it down.

A message's way: `handler` finds the project and claims it. `lock` looks again (`figures`), decides, and hands on to
`refuse`, `dry_run` or `enforce` (which stops the `machines` first); `unlock` decides, and takes the lock off. They see
and change Azure's locks through `groups`, which says in a `report` what became of each group; they write down through
`records`, with the words of `mails`. A `case` is one message on one project.

One message at a time works on a project (`claims`), and every step can be done twice: whoever comes second, or again
after a crash, finds the lock there and the decision written down, and has nothing left to do.
"""
