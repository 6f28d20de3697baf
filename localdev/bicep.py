"""The Bicep compiler, kept warm: what is wrong with a file, and which resources it would deploy.

`python -m localdev.bicep` compiles and lints every Bicep file of `infra/`, and fails on whatever the compiler says, be
it a warning. A type that it does not know is one too: the file then says `#disable-next-line`, and `UNKNOWN_TYPES`
names it. The compiler is the `bicep` in the PATH, or the one in `../shared/tools`. Where there is none, that is said;
with REQUIRE_BICEP set, it is an error.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
INFRA = PROJECT / "infra"
BESIDE = PROJECT.parent / "shared" / "tools" / "bicep"
# What Azure has and the compiler does not know: by file and the code that it hides there, such as
# ("infra/modules/app.bicep", "BCP037"), with the type or property and why.
UNKNOWN_TYPES: dict[tuple[str, str], str] = {}
DISABLED = re.compile(r"#disable-(?:next-line|diagnostics) +([A-Za-z0-9 -]+)")
SUBSCRIPTION = "99999999-0000-0000-0000-000000000001"
TENANT = "99999999-0000-0000-0000-000000000002"


class BicepError(Exception):
    """The compiler refuses; the text is its own."""


def find() -> Path | None:
    """The compiler, or None."""
    found = shutil.which("bicep")
    return Path(found) if found else BESIDE if os.access(BESIDE, os.X_OK) else None


def files() -> list[Path]:
    """Every Bicep file of the project."""
    return sorted(INFRA.rglob("*.bicep"))


class Bicep:
    """The compiler as a process that answers; a context manager.

    A call of the command line takes three seconds, one of these 0.05 to 0.3.
    """

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [str(program), "jsonrpc", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._asked = 0

    def version(self) -> str:
        """The compiler's own."""
        return str(self._ask("bicep/version", {})["version"])

    def compile(self, file: Path) -> tuple[list[str], dict[str, Any] | None]:
        """What the compiler and its linter say, a line each, modules included, and the template, unless it refuses."""
        answer = self._ask("bicep/compile", {"path": str(file)})
        said = [_line(each) for each in answer["diagnostics"]]
        return said, json.loads(answer["contents"]) if answer.get("contents") else None

    def formatted(self, file: Path) -> str:
        """The file as `bicep format` lays it out."""
        return str(self._ask("bicep/format", {"path": str(file)})["contents"])

    def snapshot(self, parameters: Path, **where: str) -> list[dict[str, Any]]:
        """Each resource that a .bicepparam file would deploy, worked out as far as can be without Azure.

        where: `location` for a file at subscription scope, `resourceGroup` for one within a group. Raises BicepError.
        """
        metadata = {"subscriptionId": SUBSCRIPTION, "tenantId": TENANT, "deploymentName": "test", **where}
        answer = self._ask("bicep/getSnapshot", {"path": str(parameters), "metadata": metadata})
        resources: list[dict[str, Any]] = json.loads(answer["snapshot"])["predictedResources"]
        return resources

    def why(self, parameters: Path) -> list[str]:
        """What is wrong with a .bicepparam file, of which `snapshot` says only that it is."""
        answer = self._ask("bicep/compileParams", {"path": str(parameters), "parameterOverrides": {}})
        return [_line(each) for each in answer["diagnostics"]]

    def _ask(self, method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self._asked += 1
        question = {"jsonrpc": "2.0", "id": self._asked, "method": method, "params": parameters}
        body = json.dumps(question).encode()
        assert self._process.stdin
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()
        answer = json.loads(self._read())
        if "error" in answer:
            raise BicepError(f"{method}: {answer['error'].get('message')}")
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> bytes:
        assert self._process.stdout
        length = 0
        while line := self._process.stdout.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if not length:
            raise BicepError(f"the compiler ended ({self._process.poll()})")
        return self._process.stdout.read(length)

    def __enter__(self) -> "Bicep":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        # It has nothing to lose, and writes a stack trace when it is asked to end.
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def _line(diagnostic: Mapping[str, Any]) -> str:
    start = diagnostic["range"]["start"]
    # Lines and characters are counted from 0.
    place = f"{_short(diagnostic['source'])}:{start['line'] + 1}:{start['char'] + 1}"
    return f"{place}: {diagnostic['level'].lower()} {diagnostic['code']}: {diagnostic['message']}"


def _short(source: str) -> str:
    path = Path(source.removeprefix("file://"))
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)


def hidden(file: Path) -> list[tuple[str, str]]:
    """The codes that a file has the compiler keep to itself, each with the file."""
    codes = " ".join(DISABLED.findall(file.read_text("utf-8"))).split()
    return [(_short(str(file)), code) for code in codes]


def faults(bicep: Bicep, paths: Sequence[Path]) -> list[str]:
    """What is wrong with these files, each once."""
    found: dict[str, None] = {}
    for file in paths:
        said, _ = bicep.compile(file)
        found |= dict.fromkeys(said)
        if not said and bicep.formatted(file) != file.read_text("utf-8"):
            found[f"{_short(str(file))}: not as `bicep format` lays it out"] = None
        unnamed = [each for each in hidden(file) if each not in UNKNOWN_TYPES]
        found |= {f"{name}: hides {code}, and UNKNOWN_TYPES does not name it": None for name, code in unnamed}
    return list(found)


def main(program: Path | None) -> int:
    """Checks every file, says so in one line, and gives the exit code."""
    if program is None:
        is_needed = bool(os.environ.get("REQUIRE_BICEP"))
        where = "there is no bicep in the PATH, and none that runs in ../shared/tools"
        print(
            f"{'error' if is_needed else 'NOT CHECKED'}: the {len(files())} files of infra/ are not compiled: {where}"
        )
        return 1 if is_needed else 0
    with Bicep(program) as bicep:
        found = faults(bicep, files())
        version = bicep.version()
    for each in found:
        print(each, file=sys.stderr)
    print(f"Bicep {version} ({program}): {len(files())} files compiled and linted, {len(found)} faults.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(find()))
