"""Makes `.venv-3.13`, in which the genuine Functions worker runs: it is a library for Python 3.13 and later only.

`python -m localdev.worker_venv` makes it where a Python 3.13 is on the machine, once for each state of the
requirements. It holds what is deployed and the worker, at the versions of requirements-dev.txt. Where the project's
own environment is of Python 3.13, it has the worker already, and no other is made.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / ".venv-3.13"
WORKER = "azure-functions-runtime"
# A pyenv shim is found in PATH and then fails; Debian's Python can lack what makes environments.
_PROBE = "import ensurepip, sys, venv; sys.exit('{{}}.{{}}'.format(*sys.version_info) != '{version}')"
VERSION = "3.13"


class WorkerVenvError(Exception):
    """The environment can't be made; the text says why."""


def find_python(candidates: Iterable[str] | None = None, version: str = VERSION) -> str | None:
    """The first of these programs that is this Python and really runs; by default, all usual places are tried."""
    tried = _candidates(version) if candidates is None else candidates
    return next((program for program in tried if _runs(program, version)), None)


def ready_python(folder: Path = FOLDER) -> Path | None:
    """A Python that has the worker: this one, or that of the environment made from the requirements as they are now."""
    if find_spec(WORKER.replace("-", "_")):
        return Path(sys.executable)
    python = folder / "bin" / "python"
    marker = _marker(folder)
    is_ready = marker.is_file() and marker.read_text(encoding="utf-8") == _fingerprint()
    return python if is_ready and python.exists() else None


def make(python: str, folder: Path = FOLDER) -> None:
    """Makes the environment from scratch; the marker is written last, so that half of it is never taken.

    Raises WorkerVenvError.
    """
    shutil.rmtree(folder, ignore_errors=True)
    _run([python, "-m", "venv", str(folder)])
    # The pins of requirements-dev.txt hold for all that the worker itself needs.
    pins = ["-r", "requirements.txt", WORKER, "-c", "requirements-dev.txt"]
    _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins])
    mark_ready(folder)


def mark_ready(folder: Path) -> None:
    """Notes that the environment is made from the requirements as they are now."""
    _marker(folder).write_text(_fingerprint(), encoding="utf-8")


def _candidates(version: str) -> Iterable[str]:
    if found := shutil.which(f"python{version}"):
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob(f"versions/{version}*/bin/python"), reverse=True))
    for folder in ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"):
        yield f"{folder}/python{version}"


def _runs(program: str, version: str) -> bool:
    command = [program, "-c", _PROBE.format(version=version)]
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _marker(folder: Path) -> Path:
    return folder / "made-from.txt"


def _fingerprint() -> str:
    contents = [(PROJECT / name).read_bytes() for name in ("requirements.txt", "requirements-dev.txt")]
    return hashlib.sha256(b"\0".join(contents)).hexdigest()


def _run(command: list[str]) -> None:
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise WorkerVenvError(f"{' '.join(command[:4])} … failed:\n{(result.stderr or result.stdout).strip()}")


def main() -> int:
    """Makes the environment if need be, says in one line what was done, and gives the exit code."""
    if ready := ready_python():
        print(f"The genuine Functions worker is ready in {ready.parents[1].name}.")
        return 0
    python = find_python()
    if python is None:
        print("There is no Python 3.13 here: the tests with the genuine Functions worker will be skipped.")
        return 0
    try:
        make(python)
    except WorkerVenvError as error:
        print(f"error: {FOLDER.name} can't be made: {error}", file=sys.stderr)
        return 1
    print(f"Made {FOLDER.name} for the genuine Functions worker, with {python}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
