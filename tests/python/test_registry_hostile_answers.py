"""Registries that have no time, are broken, or have something to say beside the answer. See `registry.scene` for what a case is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from registry.http import Exchange
from registry.own import BLOB, JSON, MANIFEST, Registry, errors
from registry.scene import FOREVER, Case, Cases, Judge, Scene

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("home")]

CASES = Cases()


def too_many(after: str | None, times: int | None = 1, target: str = MANIFEST, body: bytes = errors("TOOMANYREQUESTS")) -> Callable[[Scene], Iterator[str]]:
    def arrange(scene: Scene) -> Iterator[str]:
        _, reference = scene.image()
        headers = {**JSON, **({"Retry-After": after} if after is not None else {})}
        scene.registry.on("GET|HEAD", target, lambda exchange: exchange.reply(429, body, headers), times=times)
        scene.words["events"] = True
        yield reference

    return arrange


@CASES.case(None)
def too_many_requests_seconds(scene: Scene) -> Iterator[str]:
    """The registry is asked again after that time, and not before."""
    _, reference = scene.image()
    times: list[float] = []

    def answer(exchange: Exchange) -> Any:
        times.append(time.monotonic())
        if len(times) > 1:
            return False
        exchange.reply(429, errors("TOOMANYREQUESTS"), {"Retry-After": "1"})
        return None

    scene.registry.on("GET|HEAD", MANIFEST, answer)
    scene.words["events"] = True
    outcome = yield reference
    assert times[1] - times[0] >= 1
    assert {"retry", "rate-limit"} & {kind for kind, _ in outcome.events}


@CASES.case(None)
def too_many_requests_date(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    times: list[float] = []

    def answer(exchange: Exchange) -> Any:
        times.append(time.monotonic())
        if len(times) > 1:
            return False
        exchange.reply(429, b"", {"Retry-After": formatdate(time.time() + 2, usegmt=True)})
        return None

    scene.registry.on("GET|HEAD", MANIFEST, answer)
    yield reference
    assert times[1] - times[0] >= 1


@CASES.case(None)
def too_many_requests_for_blobs(scene: Scene) -> Iterator[str]:
    yield from too_many("0", times=3, target=BLOB)(scene)


@CASES.case(None)
def too_many_requests_malformed(scene: Scene) -> Iterator[str]:
    yield from too_many("soon", times=1, body=b"<html>slow down</html>")(scene)


@CASES.case(None)
def too_many_requests_negative(scene: Scene) -> Iterator[str]:
    yield from too_many("-5", times=1)(scene)


@CASES.case(None)
def too_many_requests_without_a_header(scene: Scene) -> Iterator[str]:
    yield from too_many(None, times=1, body=b"")(scene)


@CASES.case("RateLimited", says="{host}", seconds=FOREVER)
def too_many_requests_for_ever(scene: Scene) -> Iterator[str]:
    scene.words["retries"] = 2
    yield from too_many("0", times=None)(scene)
    assert scene.registry.count("GET|HEAD", MANIFEST) == 3


@CASES.case("RateLimited", says="{host}")
def too_many_requests_until_next_year(scene: Scene) -> Iterator[str]:
    """Nobody waits that long; it is said how long."""
    yield from too_many("31536000", times=None)(scene)
    assert scene.registry.count("GET|HEAD", MANIFEST) == 1


@CASES.case("RateLimited", says="{host}")
def too_many_requests_with_a_number_without_end(scene: Scene) -> Iterator[str]:
    scene.words["retries"] = 1
    yield from too_many("9" * 400, times=None)(scene)


@CASES.case(None, seconds=30)
def broken_then_right(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    for status, target in ((500, MANIFEST), (502, MANIFEST), (503, BLOB), (504, BLOB)):
        scene.registry.on("GET|HEAD", target, lambda exchange, status=status: exchange.reply(status, b"oops"), times=1)
    yield reference


@CASES.case("Registry", says=("500", "{host}"), seconds=FOREVER)
def broken_for_ever(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on(".*", ".*", lambda exchange: exchange.reply(500, errors("UNKNOWN", "the disk is on fire"), JSON))
    scene.words["retries"] = 2
    outcome = yield reference
    assert scene.registry.count() == 3 and "the disk is on fire" in outcome.text


@CASES.case(None, seconds=30)
def connections_that_end_at_once(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on(".*", ".*", lambda exchange: exchange.cut(reset=True), times=2)
    yield reference


@CASES.case("Unauthorized", says="a page for people")
def errors_that_are_not_json(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on(".*", MANIFEST, lambda exchange: exchange.reply(403, b"<html>a page for people\x1b[31m</html>", {"Content-Type": "text/html"}))
    outcome = yield reference
    assert "\x1b" not in outcome.text.replace("\\x1b", ""), "what a registry says cannot steer a terminal"


@CASES.case("Unauthorized", says="denied by the moon")
def errors_that_are_json(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.on(".*", MANIFEST, lambda exchange: exchange.reply(403, errors("DENIED", "denied by the moon"), JSON))
    yield reference


@CASES.case("Registry")
def errors_without_end(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()

    def endless(exchange: Exchange) -> None:
        exchange.begin(400, JSON, length=-1)
        for _ in range(2000):
            exchange.chunk(b"x" * (1 << 16))

    scene.registry.on(".*", MANIFEST, endless)
    outcome = yield reference
    assert len(outcome.text) < 20_000, len(outcome.text)


@CASES.case("ImageNotFound", says="{reference}")
def nothing_of_that_name(scene: Scene) -> Iterator[str]:
    yield f"{scene.registry.host}/no/such:1"


@CASES.case("Network", "Registry", says="{host}")
def something_that_does_not_speak_http(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()

    def garbage(exchange: Exchange) -> None:
        exchange.wfile.write(b"SSH-2.0-OpenSSH_9.2p1\r\n" + b"\0" * 5000)
        exchange.cut()

    scene.registry.on(".*", ".*", garbage)
    yield reference


@CASES.case("Network", "Registry", "LimitExceeded")
def headers_without_end(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()

    def endless(exchange: Exchange) -> None:
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(100_000):
            exchange.wfile.write(b"X-%d: %s\r\n" % (number, b"x" * 1000))
        exchange.cut()

    scene.registry.on(".*", ".*", endless)
    yield reference
    assert scene.registry.count() < 20


@CASES.case("Network", says="{host}")
def nobody_listens(scene: Scene) -> Iterator[str]:
    gone = Registry()
    gone.close()
    scene.host = gone.host
    scene.words["retries"] = 1
    yield f"{gone.host}/team/image:1"


@CASES.case(None)
def warnings_of_the_registry(scene: Scene) -> Iterator[str]:
    _, reference = scene.image()
    scene.registry.extra_headers["Warning"] = '299 - "this registry closes on friday"'
    scene.words["events"] = True
    outcome = yield reference
    assert [message for kind, message in outcome.events if kind == "warning" and "closes on friday" in message], outcome.events


@pytest.mark.timeout(180)
@pytest.mark.parametrize("one", CASES.all, ids=str)
def test_case(one: Case, judge: Judge) -> None:
    judge(one)
