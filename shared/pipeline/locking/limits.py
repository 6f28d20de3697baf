"""How long things may take, and how far back the audit is read."""

from __future__ import annotations

from datetime import timedelta

# Longer than a message is worked on, its ten-minute lease included.
CLAIM = timedelta(minutes=15)
BUSY_WAIT = timedelta(seconds=15)
# Machines are given this long to stop; what still runs then is locked all the same.
STOPPING_WAIT, STOPPING_PATIENCE = timedelta(seconds=10), timedelta(minutes=10)
# A lock that lasts for months is looked at every night, but seldom decided anew.
DECISIONS_OF_A_LOCK = 200
# So long is Azure asked again for its figure, or for what runs, where that could change what is done.
AZURE_PATIENCE = timedelta(minutes=30)
# A function that runs for ten minutes is killed, and a call takes Azure at most 40 seconds. What there was no time for
# is done by the copy of the message that is put back; each begins with what is not known to be locked.
SURVEYED_WITHIN, STOPPED_WITHIN, LOCKED_WITHIN = timedelta(minutes=2), timedelta(minutes=4), timedelta(minutes=6)
# Nothing comes before that, and it has to be done in one go.
TAKEN_OFF_WITHIN = timedelta(minutes=8)
