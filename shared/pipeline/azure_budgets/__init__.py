"""Azure's own budgets, kept like the projects', so that Azure itself calls BudgetAlert at 100 %.

`handler` takes the message about a subscription, `sync` compares what Azure has with what it is to have (`wanted`) and
writes what differs. `names` says what a project's budget is called there, by which an alert's project is known.
"""
