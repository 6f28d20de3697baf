"""What the README says to type works after the steps before it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.cli.commands import PROJECT, Cli, queued


def test_the_message_by_hand_in_python_goes_onto_its_queue(cli: Cli, queue_names: dict[str, str]) -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    example = json.loads((PROJECT / "local.settings.json.example").read_text(encoding="utf-8"))
    # As after `cp`, with this test's queues in the place of the usual ones.
    example["Values"] |= queue_names
    Path("local.settings.json").write_text(json.dumps(example), encoding="utf-8")
    cli("check")
    exec("\n".join(line.removeprefix("  ") for line in snippet.splitlines()), {})
    assert queued("QueueProjectUsageUpdate") == [{"ProjectId": 11}]
