"""When MongoDB fails: an honest 503 in time, nothing written twice or by half, and no restart needed afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest

from fhir_server.outcome import FhirError
from fhir_server.plan import ById, Decision, Write
from fhir_server.resources import ROWS
from fhir_server.store import LostRace, Store, embedded
from fhir_server.store.guards import guard_of
from tests.store.bookings import at, booking, violations
from tests.store.conftest import BASE

DEADLINE_SECONDS = 1.0

pytestmark = pytest.mark.skipif("MONGODB_URI" in os.environ, reason="it stops and kills the store")


@dataclass(slots=True)
class Server:
    """A store of the test's own, to be stopped, killed and started again on the same port."""

    directory: Path
    port: int
    process: Popen[bytes]

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        self.process = embedded.launch(self.directory, self.port)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    port = free_port()
    server = Server(tmp_path, port, embedded.launch(tmp_path, port))
    try:
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def opened(uri: str, deadline_seconds: float = DEADLINE_SECONDS) -> AsyncIterator[Store]:
    store = await Store.open(uri, "fhir", ROWS, base=BASE, deadline_seconds=deadline_seconds)
    try:
        yield store
    finally:
        await store.close()


async def assert_unavailable(work: Awaitable[object], seconds_max: float = 6) -> None:
    async with asyncio.timeout(seconds_max):
        with pytest.raises(FhirError) as refused:
            await work
    assert (refused.value.status, refused.value.issues[0].code) == (503, "transient")
    assert int(refused.value.headers["Retry-After"]) > 0
    assert not any(word in str(refused.value) for word in ("127.0.0.1", "Mongo", "pymongo", "Errno"))


async def test_without_a_store_every_call_is_a_503_and_it_recovers_by_itself(server: Server) -> None:
    async with opened(server.uri) as store:
        await store.transact(booking("a", at(0), at(30)))
        server.kill()
        await assert_unavailable(store.read("Appointment", "a"))
        await assert_unavailable(store.load([ById(frozenset({"Appointment/a"}))]))
        await assert_unavailable(store.transact(booking("b", at(60), at(90))))
        assert not await store.ready()
        server.start()
        assert await store.ready()
        await store.transact(booking("c", at(30), at(60)))
        assert await store.read("Appointment", "a")
        assert await violations(store) == []


async def test_a_store_that_hangs_is_a_503_in_time(server: Server) -> None:
    async with opened(server.uri) as store:
        server.process.send_signal(signal.SIGSTOP)
        try:
            await assert_unavailable(store.read("Appointment", "a"))
            assert not await store.ready()
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert await store.ready()


async def test_opening_without_a_store_is_refused() -> None:
    nobody = f"mongodb://127.0.0.1:{free_port()}/?directConnection=true"
    await assert_unavailable(Store.open(nobody, "fhir", ROWS, base=BASE))


async def test_a_transaction_that_a_killed_process_left_open_does_not_block_the_next_start(
    server: Server,
) -> None:
    async with opened(server.uri) as store:
        await store.transact(booking("a", at(0), at(30)))
        async with await store.client.start_session() as session:
            session.start_transaction()
            await store.db["guards"].update_many({}, {"$inc": {"moves": 1}}, session=session)
            await assert_unavailable(store.transact(booking("b", at(30), at(60))))
            async with opened(server.uri) as next:
                await next.transact(booking("c", at(30), at(60)))


async def test_a_caller_that_goes_away_leaves_all_or_nothing(server: Server) -> None:
    async with opened(server.uri) as store:
        for number in range(30):
            task = asyncio.create_task(store.transact(booking(f"{number}", at(number), at(number + 1))))
            for _ in range(number):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        if store.under_way:
            await asyncio.wait(store.under_way)
        assert await violations(store) == []
        outbox = {each["resource"] async for each in store.db["outbox"].find()}
        assert outbox == {f"Appointment/{each['_id']}" async for each in store.db["Appointment"].find()}


async def test_days_that_stay_contended_are_a_503_by_the_deadline(server: Server) -> None:
    async with opened(server.uri) as store:
        await store.transact(booking("a", at(0), at(30)))
        async with store.mutex.held([guard_of("Practitioner/1|20261201")], asyncio.get_running_loop().time() + 1):
            await assert_unavailable(store.transact(booking("b", at(30), at(60))))
        await store.transact(booking("b", at(30), at(60)))


@dataclass(slots=True)
class Loss:
    """The answers to a command that are to be lost: the next `left` ones."""

    command: bytes
    left: int = 0

    def takes(self, message: bytes) -> bool:
        taken = self.left > 0 and self.command + b"\x00" in message
        self.left -= taken
        return taken


@asynccontextmanager
async def losing(port: int, loss: Loss, meanwhile: Callable[[], None] = lambda: None) -> AsyncIterator[str]:
    """The URI of a proxy that passes everything on, but cuts the connection instead of giving a lost answer."""

    async def serve(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                message = await _message(client)
                server.write(message)
                answer = await _message(answers)
                if loss.takes(message):
                    meanwhile()
                    return
                back.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            server.close()
            back.close()

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with proxy:
        number = proxy.sockets[0].getsockname()[1]
        yield f"mongodb://127.0.0.1:{number}/?directConnection=true&serverMonitoringMode=poll"


async def _message(stream: asyncio.StreamReader) -> bytes:
    size = await stream.readexactly(4)
    return size + await stream.readexactly(int.from_bytes(size, "little") - 4)


@pytest.mark.parametrize("command", [b"commitTransaction", b"insert", b"update"])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_booking_whose_answers_are_lost_on_the_way_is_written_once(
    server: Server, command: bytes, times: int
) -> None:
    loss = Loss(command)
    async with losing(server.port, loss) as uri, opened(uri, 5) as store:
        loss.left = times
        (written,) = await store.transact(booking("a", at(0), at(30)))
        assert loss.left == 0
        assert await store.read("Appointment", "a") == written
        assert len((await store.follow(None, 10))[0]) == 1
        assert await violations(store) == []


async def test_a_commit_whose_answer_dies_with_the_store_is_recognised_afterwards(server: Server) -> None:
    def restart() -> None:
        server.kill()
        server.start()

    loss = Loss(b"commitTransaction")
    async with losing(server.port, loss, restart) as uri, opened(uri, 10) as store:
        loss.left = 1
        (written,) = await store.transact(booking("a", at(0), at(30)))
        assert (loss.left, written.version) == (0, 1)
        assert await store.read("Appointment", "a") == written
        assert len((await store.follow(None, 10))[0]) == 1


async def test_a_lost_race_is_not_tried_again_by_the_store(server: Server) -> None:
    async with opened(server.uri) as store:
        with pytest.raises(LostRace):
            await store.transact(Decision((Write("Patient", "p", {"resourceType": "Patient"}, 4),)))


async def test_servers_that_open_the_store_at_once_do_not_end_each_other(server: Server) -> None:
    for _ in range(5):
        async with AsyncExitStack() as stack:
            stores = await asyncio.gather(*(stack.enter_async_context(opened(server.uri)) for _ in range(4)))
            assert all([await store.ready() for store in stores])
