"""The command line as an operator meets it: real processes, real files, a real store."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import IO
from urllib.request import Request, urlopen

import pytest

from fhir_server import loading
from fhir_server.outcome import Json
from fhir_server.settings import Settings, environment, policy, variable

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "fhir_server")
SECONDS_MAX = 90

PATIENT: Json = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Sparrow"}]}
NO_PATIENT: Json = {"resourceType": "Patient", "id": "p2", "gender": "bird", "birthDate": "yesterday"}


def quiet_environment(**more: str) -> dict[str, str]:
    """The environment without any setting of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FHIR_SERVER_", "MONGODB"))}
    return {**kept, **more, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}


def run(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=SECONDS_MAX,
        env=quiet_environment(**more),
        check=False,
    )


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server process on a free port; it is killed if the test leaves it running."""
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=quiet_environment(),
        start_new_session=True,
    )
    watchdog = Timer(SECONDS_MAX, process.kill)
    watchdog.start()
    try:
        yield process, port
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.kill()
        process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def read_until(stream: IO[str] | None, text: str) -> str:
    """What was said up to and with the line that has `text`; the test fails if it never comes."""
    assert stream is not None
    said = ""
    for line in stream:
        said += line
        if text in line:
            return said
    raise AssertionError(f"{text!r} was never said:\n{said}")


def ask(command: str) -> Json:
    """The answer to one of the curl lines that the server printed."""
    words = shlex.split(command)
    url = next(word for word in words if word.startswith("http"))
    with urlopen(Request(url, method="POST" if "POST" in words else "GET"), timeout=20) as answer:
        found: Json = json.load(answer)
        return found


def follow_session(page: str, port: int) -> None:
    """Runs the commands of the page's session in a shell, as a reader does who puts in the ids that come back."""
    session = page.partition("## One booking")[2].partition("\n## ")[0]
    named: list[tuple[str, str]] = [("127.0.0.1:8000", f"127.0.0.1:{port}")]
    chosen = ""
    for commands, answer in re.findall(r"```sh\n(.*?)```(?:\n```\n(.*?)```)?", session, re.DOTALL):
        for shown, come in named:
            commands = commands.replace(shown, come)
        shell = ["bash", "-c", chosen + commands]
        said = subprocess.run(shell, capture_output=True, text=True, check=True, timeout=SECONDS_MAX).stdout
        for line in (line.strip() for line in answer.splitlines()):
            if line.startswith(('"status"', "HTTP/", '"versionId"')):
                assert line in said, f"{commands}\n{said}"
        named += zip(ids_of(answer), ids_of(said), strict=False)
        chosen += "".join(re.findall(r"^[A-Z]+=.*\n", commands, re.MULTILINE))


def ids_of(answer: str) -> list[str]:
    """The ids that an answer is about: its own, that of what it found, of Slots that it offers instead."""
    own = re.findall(r'"resourceType": "(?:Appointment|Slot|Encounter)",\s+"id": "([^"]+)"', answer)
    return own or re.findall(r'"reference": "Slot/([^"]+)"', answer)


def read_json(url: str) -> Json:
    return ask(f"curl '{url}'")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def stop(process: subprocess.Popen[str], number: int = signal.SIGINT) -> int:
    process.send_signal(number)
    return process.wait(SECONDS_MAX)


# --- settings and help


def test_every_setting_is_an_option_that_help_explains_with_its_environment_variable() -> None:
    text = re.sub(r"\s+", " ", run("serve", "--help").stdout)
    for name, setting in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert f"{setting.description} Environment: {variable(name)}." in text


def test_help_lists_the_commands() -> None:
    text = run("--help").stdout
    for command in ("serve", "load", "demo", "reindex", "conformance", "version"):
        assert re.search(rf"^\s*{command}\s+\w", text, re.MULTILINE)


def test_version_says_the_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", run("version").stdout)


def test_a_wrong_setting_is_named_with_its_option_and_variable() -> None:
    answer = run("serve", "--port", "70000", FHIR_SERVER_TIME_ZONE="Mars/Olympus")
    assert answer.returncode == 2
    assert "--port (FHIR_SERVER_PORT)" in answer.stderr
    assert "--time-zone (FHIR_SERVER_TIME_ZONE)" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_links_to_meetings_without_a_secret_are_said_to_need_one() -> None:
    answer = run("serve", "--meeting-url-template", "https://meet.example/{room}")
    assert answer.returncode == 2
    assert answer.stderr == (
        "--meeting-secret (FHIR_SERVER_MEETING_SECRET): links to meetings (meeting-url-template) need one\n"
    )


def test_settings_come_from_the_environment_and_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIR_SERVER_PORT", "8123")
    monkeypatch.setenv("FHIR_SERVER_HOST", "0.0.0.0")
    assert Settings().base == "http://localhost:8123/fhir"
    assert Settings(port=9000, host="::1").base == "http://[::1]:9000/fhir"
    assert Settings(base_url="https://fhir.example/fhir/").base == "https://fhir.example/fhir"


def test_mongodb_uri_needs_no_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FHIR_SERVER_MONGODB_URI", raising=False)
    monkeypatch.setenv("MONGODB_URI", "mongodb://one")
    assert Settings().mongodb_uri == "mongodb://one"
    assert "mongodb://one" not in repr(Settings())
    monkeypatch.setenv("FHIR_SERVER_MONGODB_URI", "mongodb://two")
    assert Settings().mongodb_uri == "mongodb://two"


def test_worker_processes_read_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Settings(port=8123, mongodb_uri="mongodb://one", encounter_on_arrival=False, log_json=True)
    for name, value in environment(chosen).items():
        monkeypatch.setenv(name, value)
    assert Settings() == chosen


def test_the_policy_follows_the_settings() -> None:
    chosen = policy(Settings(time_zone="Asia/Kolkata", find_window_days_max=7, join_window_after_minutes=5))
    assert chosen.zone.key == "Asia/Kolkata"
    assert (chosen.window_days_max, chosen.join_window_after_minutes) == (7, 5)


# --- serve


def test_a_first_start_loads_the_demo_and_its_advice_works_and_a_second_start_finds_it(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with serving("--data", data, "--demo") as (process, port):
        said = read_until(process.stdout, "status=waitlist")
        find, book, together, video, waiting = (line for line in said.splitlines() if line.strip().startswith("curl"))
        assert "0 refused" in said
        slots = ask(find)["entry"]
        booked = ask(book)
        assert booked["status"] == "booked"
        assert booked["start"] == slots[0]["resource"]["start"]
        held = ask(book.replace("$book", "$hold").replace(slots[0]["resource"]["id"], slots[1]["resource"]["id"]))
        assert held["status"] == "pending"
        assert len({one["resource"]["start"] for one in ask(together)["entry"]}) == 2
        assert ask(video)["total"] >= 1
        assert ask(waiting)["total"] >= 2
        store = json.loads((tmp_path / "data/store.json").read_text())["pid"]
        assert stop(process) == 0
        assert not is_alive(store)
        assert f"127.0.0.1:{port}" in said
    with serving("--data", data, "--demo") as (process, port):
        assert "demo network" not in read_until(process.stdout, "answers at")
        found = read_json(f"http://127.0.0.1:{port}/fhir/Appointment/{booked['id']}")
        assert found["meta"]["versionId"] == "1"
        follow_session((ROOT / "README.md").read_text("utf-8"), port)
        assert stop(process, signal.SIGTERM) in (0, 128 + signal.SIGTERM)
    assert not (tmp_path / "data/store.json").exists()


def test_several_workers_stop_together(tmp_path: Path) -> None:
    with serving("--data", str(tmp_path), "--workers", "2") as (process, port):
        read_until(process.stdout, "answers at")
        assert read_json(f"http://127.0.0.1:{port}/fhir/metadata")["resourceType"] == "CapabilityStatement"
        assert stop(process) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_workers_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    with serving("--data", str(tmp_path), "--workers", "2") as (process, port):
        read_until(process.stdout, "answers at")
        process.kill()
        process.wait()
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return
            time.sleep(0.1)
    raise AssertionError("the workers still answer")


def test_a_port_in_use_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        answer = run("serve", "--port", port, "--data", str(tmp_path / "data"))
    assert answer.returncode == 1
    assert f"port {port}: Address already in use. Choose another with --port." in answer.stderr
    assert not (tmp_path / "data").exists()


# --- load


def test_load_reports_each_refusal_with_its_reasons_and_loads_the_rest(tmp_path: Path) -> None:
    lines = (PATIENT, NO_PATIENT, {"resourceType": "Observation", "id": "o1"})
    file = tmp_path / "mixed.ndjson"
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n{\n")
    data = str(tmp_path / "data")
    answer = run("load", "--data", data, str(file))
    assert answer.returncode == 1
    said = answer.stdout
    assert f"refused  {file}:2 Patient/p2" in said
    assert "(Patient.gender)" in said
    assert "(Patient.birthDate)" in said
    assert f"skipped  {file}:3 Observation/o1" in said
    assert f"refused  {file}:4" in said
    assert said.endswith("1 created, 0 updated, 2 refused, 1 skipped\n")
    again = run("load", "--data", data, "-", stdin=json.dumps(PATIENT))
    assert (again.returncode, again.stdout) == (0, "0 created, 1 updated, 0 refused, 0 skipped\n")
    indexed = run("reindex", "--data", data)
    assert indexed.returncode == 0


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (entry,) = loading.read([str(tmp_path / "nothing.json")])
    assert entry.resource is None
    assert entry.issues[0].code == "not-found"


def loaded_from(content: object) -> list[loading.Entry]:
    return list(loading.parse("file", json.dumps(content).encode()))


def test_a_pretty_printed_resource_is_one_resource() -> None:
    entries = list(loading.parse("file", json.dumps(PATIENT, indent=2).encode()))
    assert [entry.resource for entry in entries] == [PATIENT]


def test_the_entries_of_a_bundle_are_loaded_and_say_where_they_are() -> None:
    entries = loaded_from(
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [{"resource": PATIENT}, {"request": {"method": "DELETE", "url": "Patient/x"}}],
        }
    )
    assert [entry.source for entry in entries] == ["file Bundle.entry[0]", "file Bundle.entry[1]"]
    assert entries[0].resource == PATIENT
    assert entries[1].resource is None


def test_names_within_a_bundle_become_references_that_last() -> None:
    name = "urn:uuid:6d0f9a3e-0000-4000-8000-000000000001"
    schedule = {"resourceType": "Schedule", "id": "s1", "actor": [{"reference": name}]}
    nameless = {"resourceType": "Practitioner", "name": [{"family": "Okafor"}]}
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": schedule}, {"fullUrl": name, "resource": nameless}],
    }
    first, second = (entry.resource for entry in loaded_from(bundle))
    assert first
    assert second
    assert first["actor"] == [{"reference": f"Practitioner/{second['id']}"}]
    again = [entry.resource for entry in loaded_from(bundle)]
    assert again == [first, second]


def references_in_order(resources: Sequence[Json]) -> list[str]:
    entries = loading.arrange(loading.entries_of(resources, "here"))
    return [entry.reference for entry in entries]


def test_what_is_referred_to_is_loaded_first() -> None:
    room = {"resourceType": "Location", "id": "room", "partOf": {"reference": "Location/site"}}
    shelf = {"resourceType": "Location", "id": "shelf", "partOf": {"reference": "Location/room"}}
    site = {"resourceType": "Location", "id": "site"}
    slot = {"resourceType": "Slot", "id": "s"}
    organization = {"resourceType": "Organization", "id": "o"}
    assert references_in_order([slot, shelf, room, site, organization]) == [
        "Organization/o",
        "Location/site",
        "Location/room",
        "Location/shelf",
        "Slot/s",
    ]


def test_a_circle_of_parts_does_not_hang() -> None:
    one = {"resourceType": "Location", "id": "one", "partOf": {"reference": "Location/two"}}
    two = {"resourceType": "Location", "id": "two", "partOf": {"reference": "Location/one"}}
    assert set(references_in_order([one, two])) == {"Location/one", "Location/two"}


# --- demo and conformance


def test_the_demo_can_be_printed_for_another_server() -> None:
    bundle = json.loads(run("demo", "--print").stdout)
    assert bundle["type"] == "collection"
    assert {"Schedule", "Appointment"} <= {entry["resource"]["resourceType"] for entry in bundle["entry"]}


def test_conformance_is_written_and_a_difference_is_an_error(tmp_path: Path) -> None:
    directory = ("conformance", "--directory", str(tmp_path))
    assert run(*directory, "--check").returncode == 1
    assert run(*directory).returncode == 0
    kept = run(*directory, "--check")
    assert (kept.returncode, kept.stdout) == (0, "")
    stray = tmp_path / "stray.json"
    stray.write_text("{}")
    answer = run(*directory, "--check")
    assert (answer.returncode, answer.stdout) == (1, "gone  stray.json\n")
