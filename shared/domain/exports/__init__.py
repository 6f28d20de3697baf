"""The rules of cost exports: what a run is, whose its charges are, what it replaces, who feeds, and what counts.

A manifest that is found is a run (`runs.what_is`) that has to be read (`feeding.unread`) once it is there
(`runs.why_waiting`). Each part is summed (`sums.sums_of`). Once all are in, sub-account by sub-account: they are added
up (`sums.added`) and say where they count (`days.placed`), and who feeds now (`feeding.offers_of`, `who_feeds`). Then,
for each that the export can feed (`feeding.by_fed`, `fed_by`), and for each billing period of which the run speaks:
for what it still does (`days.left_to`), whether it is believed (`reading.read_by`), and what replaces what this export
has delivered there (`days.counted`, `Sums.rounded`). In the end, for each month that this touches, whose charges count
(`counting.Sources`).
"""
