"""A program in the place of the Azure CLI: it answers as it was told, and notes what it was asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.docs import sources

HOOKS = sources.PROJECT / "infra" / "hooks"
PROGRAM = """#!{python}
import json, sys
from pathlib import Path

folder = Path({folder!r})
asked = folder / "asked.txt"
given = [Path(each[1:]).read_text("utf-8") if each.startswith("@") else each for each in sys.argv[1:]]
with asked.open("a", encoding="utf-8") as file:
    file.write(json.dumps(given) + "\\n")
answers = json.loads((folder / "answers.json").read_text("utf-8"))
for answer in answers:
    if answer["times"] and answer["of"] in " ".join(sys.argv):
        answer["times"] -= 1
        (folder / "answers.json").write_text(json.dumps(answers), "utf-8")
        sys.stderr.write(answer["refusal"])
        sys.stdout.write(json.dumps(answer["value"]))
        sys.exit(1 if answer["refusal"] else 0)
"""


class AzureCli:
    """The program, and a folder for PATH that has it as `az`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "bin"
        self.path.mkdir(parents=True)
        program = self.path / "az"
        program.write_text(PROGRAM.format(python=sys.executable, folder=str(folder)), "utf-8")
        program.chmod(0o755)
        self._answers: list[dict[str, object]] = []
        self._write()

    def azd(self, values: Mapping[str, str]) -> None:
        """Puts an azd beside it, whose environment has these values."""
        program = self.path / "azd"
        program.write_text(f"#!/bin/sh\ncat <<'VALUES'\n{json.dumps(dict(values))}\nVALUES\n", "utf-8")
        program.chmod(0o755)

    def answers(self, of: str, *, refusal: str = "", value: object = None, times: int = 1_000) -> None:
        """What it says to a command that holds this text; all others go well without a word."""
        self._answers.append({"of": of, "refusal": refusal, "value": value, "times": times})
        self._write()

    def _write(self) -> None:
        (self._folder / "answers.json").write_text(json.dumps(self._answers), "utf-8")

    def asked(self) -> list[list[str]]:
        """The arguments of each call so far, with what stands in a file (@FILE) in its place."""
        file = self._folder / "asked.txt"
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []

    def run_hook(
        self, name: str, environment: Mapping[str, str], *arguments: str, folder: Path = HOOKS
    ) -> subprocess.CompletedProcess[str]:
        """Runs a hook of infra/hooks as azd does: in its folder, with the values of azd's environment."""
        path = os.pathsep.join([str(self.path), os.environ["PATH"]])
        environment = {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | dict(environment)
        command = [sys.executable, str(HOOKS / name), *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
