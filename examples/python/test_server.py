"""Three ways to a server in a container, which has no network of its own, and data that is prepared once. With the fixtures of conftest.py."""

import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import coble
import pytest

Start = Callable[..., coble.Container]
HTTP = ["python3", "-m", "http.server", "--directory", "/usr/bin"]
UPPER = """
import socketserver
class Upper(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline().upper())
with socketserver.UnixStreamServer("/sockets/upper", Upper) as server:
    print("ready", flush=True)
    server.serve_forever()
"""


def test_on_the_network_of_the_host(start: Start) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start([*HTTP, "--bind", "127.0.0.1", str(port)], network="host", wait=coble.wait.http(port))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        assert answer.status == 200


def test_over_a_socket_in_a_folder(start: Start, tmp_path: Path) -> None:
    start(["python3", "-c", UPPER], volumes={str(tmp_path): {"bind": "/sockets", "mode": "rw"}}, wait=coble.wait.log("ready"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "upper"))
        client.sendall(b"hello\n")
        assert client.recv(100) == b"HELLO\n"


def test_from_inside_and_from_a_second_container(start: Start, engine: coble.Engine, image: str) -> None:
    server = start([*HTTP, "8000"], wait=coble.wait.port(8000))
    fetch = ["python3", "-c", "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8000/').status)"]
    assert server.exec(fetch, check=True).stdout == b"200\n"
    assert engine.run(image, fetch, network=f"container:{server.name}", check=True).stdout == b"200\n"


@pytest.fixture(scope="session")
def seed(engine: coble.Engine, image: str) -> Iterator[coble.Volume]:
    with engine.volumes.create() as volume:
        engine.run(image, ["python3", "-c", "open('/data/base', 'w').write('prepared')"], volumes={volume: "/data"}, check=True)
        yield volume


def test_with_data_of_its_own(engine: coble.Engine, image: str, seed: coble.Volume) -> None:
    with seed.clone() as mine:
        engine.run(image, ["python3", "-c", "open('/data/base', 'w').write('spoilt')"], volumes={mine: "/data"}, check=True)
    done = engine.run(image, ["python3", "-c", "print(open('/data/base').read())"], volumes=[f"{seed.name}:/data:ro"], check=True)
    assert done.stdout == b"prepared\n"
