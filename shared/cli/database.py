"""`db`: the database's tables."""

from __future__ import annotations

from shared.cli import output
from shared.cli.app import AsJson, command_group, open_app

commands = command_group("The database's tables.")


@commands.command()
def upgrade(json: AsJson = False) -> None:
    """Make the tables, or bring them up to date.

    It is safe to run it again.
    """
    app = open_app()
    with output.working("Bringing the tables up to date …"):
        revision = app.upgrade_tables()
    place = app.database.url.render_as_string(hide_password=True)
    if json:
        output.write_json({"database": place, "revision": revision})
        return
    output.say(f"The tables in {place} are up to date (revision {revision}).")
