"""Makes an image from programs of this host and runs containers of it. `make quickstart` calls it."""

import tempfile
import time
from pathlib import Path

import coble


def main() -> None:
    # A store of its own, so that trying it out leaves nothing. Without arguments an engine uses the user's store.
    with tempfile.TemporaryDirectory(prefix="coble-quickstart-") as place:
        with coble.Engine(data_root=Path(place, "data"), run_root=Path(place, "run")) as engine:
            image = engine.images.from_host(["sh", "cat", "id", "ls", "sleep"], "demo")
            print(f"made image {image.references[0]} from this host: {image.size:,} bytes")

            done = engine.run("demo", ["sh", "-c", "id; echo; ls /; echo; cat"], input=b"and this came through standard input\n")
            print(f"\nits first container ended with exit code {done.exit_code} and wrote:\n{done.stdout.decode()}")

            begin = time.perf_counter()
            for _ in range(10):
                engine.run("demo", ["sh", "-c", "exit 0"], check=True)
            print(f"ten more took {(time.perf_counter() - begin) * 1000:.0f} ms")

            with engine.containers.run("demo", ["sh", "-c", "echo ready; sleep 600"], pids_limit=32) as container:
                answer = container.exec(["sh", "-c", "echo $HOSTNAME"], check=True)
                isolation = container.inspect().isolation
                print(f"container {container.name} answers {answer.stdout.decode().strip()}")
                if isolation is not None:
                    own = [namespace.name for namespace in isolation.namespaces if namespace.own]
                    print(f"its own namespaces: {', '.join(own)}; seccomp: {isolation.seccomp}")

            try:
                engine.run("demo", ["no-such-program"])
            except coble.CommandNotFoundError as error:
                print(f"and what cannot run says why: {error}")


if __name__ == "__main__":
    main()
