"""The rules of cost exports: what a run is, whose its charges are, what it replaces, who feeds.

A manifest that is found is a run (`runs.what_is`) that has to be read (`feeding.unread`) once it is there
(`runs.why_waiting`). Each part is summed (`sums.sums_of`); the last one in adds them up (`sums.added`), says where they
count (`days.placed`), and who feeds now (`feeding.offers_of`, `who_feeds`, `suppliers`). Then, in a transaction for
each that the export feeds (`feeding.fed_by`), and for each billing period of which the run speaks: for what it still
does (`days.left_to`), whether it is believed (`reading.read_by`), and what replaces what is stored there
(`days.counted`, `Sums.rounded`).
"""
