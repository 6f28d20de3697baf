"""Installing Azurite once, and running it."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from azure.storage.queue import QueueServiceClient

from localdev.azurite import FOLDER, VERSION, Azurite, AzuriteError, Node, ensure_installed
from localdev.processes import Program

NPM = """#!/bin/sh
echo run >> "$(dirname "$0")/runs"
sleep 0.3
mkdir -p node_modules/azurite/dist/src/queue
touch node_modules/azurite/dist/src/queue/main.js
"""


def _npm(folder: Path, text: str = NPM) -> Node:
    """A stand-in for npm: the real one needs the network and half a minute."""
    folder.mkdir()
    program = folder / "npm"
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    return Node(str(folder / "node"), str(program))


def _runs(node: Node) -> int:
    return len((Path(node.npm).parent / "runs").read_text(encoding="utf-8").splitlines())


def test_several_callers_at_once_install_it_once(tmp_path):
    node = _npm(tmp_path / "bin")
    with ThreadPoolExecutor(4) as pool:
        scripts = set(pool.map(lambda _: ensure_installed(tmp_path / "azurite", node), range(4)))
    assert _runs(node) == 1
    assert len(scripts) == 1
    assert scripts.pop().is_file()
    assert not list((tmp_path / "azurite").glob("package-lock.json"))


@pytest.mark.parametrize("marker", [None, "azurite 3.35.0\n", ""])
def test_a_half_done_or_older_installation_is_done_again(tmp_path, marker):
    node, folder = _npm(tmp_path / "bin"), tmp_path / "azurite"
    stale = folder / "node_modules" / "stale.txt"
    stale.parent.mkdir(parents=True)
    stale.touch()
    if marker is not None:
        (folder / "installed.txt").write_text(marker, encoding="utf-8")
    ensure_installed(folder, node)
    assert not stale.exists()
    assert (folder / "installed.txt").read_text(encoding="utf-8") == f"azurite {VERSION}\n"


def test_a_failed_installation_is_told_and_tried_again_the_next_time(tmp_path):
    bad = _npm(tmp_path / "bad", "#!/bin/sh\necho no network >&2\nexit 1\n")
    with pytest.raises(AzuriteError, match="no network"):
        ensure_installed(tmp_path / "azurite", bad)
    assert ensure_installed(tmp_path / "azurite", _npm(tmp_path / "bin")).is_file()


def test_the_real_one_is_of_the_wanted_version(azurite):
    package = FOLDER / "node_modules" / "azurite" / "package.json"
    assert f'"version": "{VERSION}"' in package.read_text(encoding="utf-8")


def test_it_serves_blobs_too(tmp_path):
    with Azurite(tmp_path, service="blob", in_memory=True) as running:
        endpoint = re.search("BlobEndpoint=(.+);$", running.connection_string)
        assert endpoint is not None
        with pytest.raises(HTTPError) as refused:
            urlopen(endpoint[1] + "?comp=list")
    assert refused.value.headers["Server"] == f"Azurite-Blob/{VERSION}"


def test_it_keeps_its_port_and_its_messages_over_a_restart(tmp_path):
    running = Azurite(tmp_path / "data")
    with running:
        text = running.connection_string
        queue = QueueServiceClient.from_connection_string(text).get_queue_client("kept")
        queue.create_queue()
        queue.send_message("hello")
    with running:
        assert running.connection_string == text
        queue = QueueServiceClient.from_connection_string(text).get_queue_client("kept")
        assert [message.content for message in queue.peek_messages()] == ["hello"]


def test_a_port_in_use_is_an_error_that_says_so(azurite, tmp_path):
    with pytest.raises(AzuriteError, match=r"(?s)did not start.*EADDRINUSE"):
        Azurite(tmp_path, in_memory=True, port=azurite.port).start()


def test_the_command_runs_it_until_it_is_told_to_stop(tmp_path):
    command = [sys.executable, "-m", "localdev.azurite", "--run", "--port", "0", "--folder", str(tmp_path)]
    program = Program(command, ready="Ready:", folder=FOLDER.parent).start()
    connection_string = program.wait_for("Ready:").removeprefix("Ready: ").strip()
    assert QueueServiceClient.from_connection_string(connection_string).get_service_properties()
    assert program.stop() == 0


def test_the_command_says_where_it_installed_it():
    command = [sys.executable, "-m", "localdev.azurite", "--install"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=FOLDER.parent)
    assert result.stdout == f"Azurite {VERSION} is installed in {FOLDER}.\n"


def test_where_there_is_no_node_it_can_be_left_to_later(tmp_path):
    command = [sys.executable, "-m", "localdev.azurite", "--install", "--if-node"]
    here = {"env": {"PATH": str(tmp_path)}, "cwd": FOLDER.parent}
    done = subprocess.run(command, **here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
