"""What the pipeline and the services need from outside, as Protocols: one module a concern.

Two kinds of errors leave an adapter, and nothing else (`errors`). Every port that has a fake passes one contract suite
with it, in tests/contracts. All times are aware UTC datetimes, all days UTC days, all money is Decimal.
"""
