"""What is wrong with an app or its settings is said in one sentence, and nothing runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from localdev import host
from localdev.functions_host.errors import HostError
from localdev.functions_host.settings import Connection, HostSettings, QueueSettings, read_host_settings
from localdev.functions_host.storage import QueueAccount

FINE = "def F(m: func.QueueMessage) -> None: ..."
QUEUE = '@app.queue_trigger(arg_name="m", queue_name="%In%", connection="Storage")\n'
RETURN = '@app.queue_output(arg_name="$return", queue_name="%Out%", connection="Storage")\n'
OUT = '@app.queue_output(arg_name="out", queue_name="%Out%", connection="Storage")\n'


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ('raise RuntimeError("MAIL is not set; it takes an address")', "MAIL is not set; it takes an address"),
        ("def oops(:", "SyntaxError"),
        ("import not_there", "ModuleNotFoundError: No module named 'not_there' (function_app.py, line 18)"),
        ('sys.exit("no settings")', "no settings"),
        ("other = app", "more than one FunctionApp"),
        ("del app", "defines no FunctionApp"),
        ("@app.function_name('F')\ndef f(m): ...", "does not have a trigger"),
        (QUEUE + "def F(m: dict) -> None: ...", "m is annotated dict"),
        (QUEUE + "def F(m: list[str]) -> None: ...", "m is annotated list[str]"),
        (QUEUE + "def F(m: func.QueueMessage, more: str) -> None: ...", "parameters without a binding: more"),
        (QUEUE + OUT + FINE, "F has the binding out of type queue"),
        (QUEUE + RETURN + "def F(m: func.QueueMessage) -> str: ...", "no others than triggers"),
        ('@app.route("x")\ndef F(req: func.HttpRequest) -> str | None: ...', "to return str | None"),
        (QUEUE + "def F(m: 'Nothing') -> None: ...", "annotation that can't be read"),
        (
            QUEUE + FINE + "\n" + QUEUE + FINE,
            "can't be indexed",
        ),
        (
            QUEUE.replace("%In%", "%Gone%") + FINE,
            "needs the app setting Gone, which is not set",
        ),
        (
            QUEUE.replace("Storage", "Nope") + FINE,
            "the connection Nope, which is not set",
        ),
        (
            QUEUE.replace("%In%", "Not_A_Name") + FINE,
            "The queue 'Not_A_Name' of Storage can't",
        ),
        (
            '@app.blob_trigger(arg_name="b", path="x", connection="Storage")\ndef F(b: func.InputStream): ...',
            "F has a blobTrigger",
        ),
        (QUEUE + "def F(m: str) -> None: ...", "m is annotated str"),
        ('@app.timer_trigger(arg_name="t", schedule="0 2 * * *")\ndef F(t): ...', "takes six fields"),
        ('@app.route("{id:decimal}")\ndef F(req: func.HttpRequest): ...', "not '{id:decimal}'"),
    ],
)
def test_an_app_that_azure_would_not_run_says_why_in_one_line(sample, source, told):
    text = sample.write(source).fails_to_start()
    assert text.startswith("error: ")
    assert told in text


def test_a_queue_service_that_does_not_answer_is_named_without_its_key(sample):
    sample.write(QUEUE + FINE)
    key = "AAAA"
    text = sample.host(
        ready="",
        Storage=f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={key};QueueEndpoint=http://127.0.0.1:9/a;",
    ).start()
    assert text.wait() == 1
    assert (
        "error: The queues of Storage at http://127.0.0.1:9/a/ don't answer: is Azurite running there? "
        "`python -m localdev.azurite --run` runs one" in text.output
    )
    assert key not in text.output


def test_development_storage_means_azurite_on_its_usual_port():
    account = QueueAccount(Connection("Storage", "UseDevelopmentStorage=true"))
    assert account.url == "http://127.0.0.1:10001/devstoreaccount1/"


@pytest.mark.parametrize("value", ["nonsense", "a=b;c"])
def test_a_malformed_connection_string_is_told_with_its_setting(sample, value):
    text = sample.write(QUEUE + FINE).fails_to_start(Storage=value)
    assert text.startswith("error: Storage is no connection string that the storage SDK takes")


def test_verbose_shows_the_traceback(sample):
    host = sample.write('raise RuntimeError("x")').host("--verbose", ready="").start()
    assert host.wait() == 1
    assert "Traceback" in host.output


def test_settings_come_from_the_file_but_the_environment_wins(sample, until):
    sample.write("""
        record(os.environ["FromFile"], os.environ["FromBoth"])
        @app.timer_trigger(arg_name="t", schedule="%Cron%")
        def F(t: func.TimerRequest) -> None: ...
    """)
    values = {"FromFile": "file", "FromBoth": "file", "Cron": "0 0 2 * * *"}
    (sample.folder / "local.settings.json").write_text(json.dumps({"Values": values}), encoding="utf-8-sig")
    host = sample.host(FromBoth="environment").start()
    assert "F (timer 0 0 2 * * *)" in host.wait_for("Ready:")
    assert sample.records() == ["file environment"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"Values": {"A": 1}}', "A is 1; an app setting is a text"),
        ("{,}", "can't be read as JSON"),
        ('{"IsEncrypted": true}', "is encrypted"),
    ],
)
def test_a_faulty_settings_file_is_named(sample, tmp_path, content, told):
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    text = sample.write("").fails_to_start("--settings", str(path))
    assert str(path) in text
    assert told in text


def test_a_folder_without_an_app_is_told(sample):
    assert "There is no function_app.py in" in sample.fails_to_start()


def _host_json(folder, queues):
    (folder / "host.json").write_text(json.dumps({"extensions": {"queues": queues}}), encoding="utf-8")
    return read_host_settings(folder)


def test_host_json_has_the_documented_defaults(tmp_path):
    assert _host_json(tmp_path, {"messageEncoding": "none"}) == HostSettings(QueueSettings(16, 8, 5, 0.0, 60.0), "api")


def test_host_json_is_read_with_its_times_and_half_a_batch_as_threshold(tmp_path):
    queues = {"batchSize": 5, "visibilityTimeout": "00:00:30", "maxPollingInterval": "1.00:00:02.5"}
    assert _host_json(tmp_path, queues | {"messageEncoding": "none"}).queues == QueueSettings(5, 2, 5, 30.0, 86402.5)


def test_app_settings_override_host_json(tmp_path, monkeypatch):
    for name, text in [("maxDequeueCount", "100"), ("maxPollingInterval", "00:00:00.25"), ("messageEncoding", "none")]:
        monkeypatch.setenv(f"AzureFunctionsJobHost__extensions__queues__{name}", text)
    assert _host_json(tmp_path, {"maxDequeueCount": 3}).queues == QueueSettings(16, 8, 100, 0.0, 0.25)


@pytest.mark.parametrize(
    "queues",
    [
        {"batchSize": 33},
        {"batchSize": True},
        {"maxDequeueCount": 0},
        {"visibilityTimeout": 30},
        {"maxPollingInterval": "2s"},
        {"messageEncoding": "base64"},
        [],
    ],
)
def test_what_host_json_can_not_hold_is_refused(tmp_path, queues):
    with pytest.raises(HostError, match=r"host\.json"):
        _host_json(tmp_path, {"messageEncoding": "none"} | queues if isinstance(queues, dict) else queues)


# --- what it needs ---


def test_without_its_packages_it_says_in_a_sentence_what_to_install():
    # -S leaves out what is installed.
    command = [sys.executable, "-S", "-m", "localdev.host"]
    result = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: azure is not installed in ")
    assert result.stderr.endswith(": `pip install -r requirements.txt` installs it\n")


def test_without_its_settings_it_says_how_to_make_them(tmp_path, capsys):
    (tmp_path / "host.json").write_text('{"version": "2.0", "extensions": {"queues": {"messageEncoding": "none"}}}')
    (tmp_path / "local.settings.json.example").write_text("{}")
    assert host.main(["--app", str(tmp_path)]) == 1
    hint = "`cp local.settings.json.example local.settings.json` makes one"
    assert f"(there is no {tmp_path}/local.settings.json; {hint})" in capsys.readouterr().err
