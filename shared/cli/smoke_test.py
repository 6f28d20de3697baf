"""`smoke-test`: one of every kind of mail to the operators."""

from __future__ import annotations

from shared.cli import output
from shared.cli.app import AsJson, open_app


def smoke_test(json: AsJson = False) -> None:
    """Send one of every kind of mail to the operators, by the database, the queue, the app and the mail provider.

    Nothing else is done, and nothing that was told of a project counts by it.
    """
    app = open_app()
    ids = app.smoke_test.send()
    to = app.settings.email_operators
    if json:
        output.write_json({"mails": ids, "to": list(to)})
    else:
        output.say(f"Queued for {'; '.join(to)}: {output.count(len(ids), 'mail')}. They wait for the app to send them.")
        output.say("See what becomes of them: `python -m shared.cli mails list`")
