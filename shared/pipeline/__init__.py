"""The chain's stages: message in, next messages out.

Every stage may run twice, late, or next to itself; the outcome is the same. What can't be done now is put back
onto its queue with a delay (stage.py); what can't be right becomes a dead letter (dead_letters.py).
"""
