"""What a person can ask for, whatever they ask it with: the command line calls this, and so will pages and an API.

A service takes texts as a person wrote them, and gives back values, or raises an error whose text is a sentence for
that person (`errors`); how it is shown is the caller's. It is built in composition.py, from ports, stages and plain
values: no adapter, no settings and no command is imported here.
"""
