"""What users write, for the type checker: it is checked, not run. A type that is wrong is an error, and so is an `ignore` that is not needed."""

from __future__ import annotations

import datetime
import pathlib
import re
import signal
import subprocess
import sys

import coble
import coble.aio


def engines(path: pathlib.Path) -> None:
    with coble.Engine(path / "data", run_root=str(path / "run"), rootless=True) as engine:
        info: coble.Info = engine.info()
        root: pathlib.Path = info.data_root
        report: coble.Report = coble.doctor(data_root=root)
        fixes: list[str | None] = [check.fix for check in report.checks if check.status != "ok"]
        problems: list[str] = engine.verify()
        print(fixes, problems)


def images(engine: coble.Engine) -> None:
    image: coble.Image = engine.images.from_host(["sh", pathlib.Path("/etc/hosts"), ("/bin/true", "/true")], "demo", command=["sh"])
    with open("/tmp/x.tar", "rb") as file:
        loaded: list[coble.Image] = engine.images.load(file)
    engine.images.import_rootfs(0, "rootfs", environment={"A": "b"}, labels=["a=b"])
    removed: coble.Removed = engine.images.remove(image, force=True)
    layers: list[coble.LayerInfo] = loaded[0].inspect().layers
    print(removed.untagged, layers)
    engine.images.from_host()  # type: ignore[call-arg]


def registries(engine: coble.Engine) -> None:
    image: coble.Image = engine.images.pull("alpine", platform="all", policy="newer", jobs=2, credentials=("me", "secret"), retries=0)
    told: coble.Image = engine.images.pull("alpine", progress=lambda event: print(event.kind, event.overall_current))
    with coble.progress.Printer(sys.stdout, bar=False) as show:
        engine.images.save(engine.images.load("image.tar", progress=show), "again.tar", progress=show)
    engine.scrub(progress=lambda event: print(event.kind == "check", event.digest))
    with engine.images.pull("alpine", stream=True) as events:
        for event in events:
            digest: str | None = event.digest
            print(digest, event.kind == "blob-done")
        pulled: coble.Image = events.result(timeout=1)
    stream: coble.ProgressStream[coble.Pushed] = engine.images.push("registry.example/app", chunk_size="32m", compression="zstd", compression_level=9, tags=["1"], stream=True)
    pushed: coble.Pushed = stream.result()
    copied: coble.Pushed = engine.images.copy("a", "b", source_credentials=coble.Credentials("me", "secret"), target_insecure=True)
    found: list[str] = [one.name for one in engine.images.search("alpine", limit=3, filters={"is-official": True})]
    pins: list[coble.Pin] = engine.images.lock(["alpine"], pathlib.Path("coble.lock"), credentials=coble.Credentials.token("secret"))
    blobs: list[coble.PlannedBlob] = engine.images.plan("alpine").blobs
    server: str = engine.registry.login("registry.example", ("me", "secret"), cert_dir="/certs").server
    gone: bool = engine.registry.logout("registry.example")
    platforms: list[str] = engine.registry.inspect("alpine", platform="linux/arm64").platforms
    print(image, told, pulled, pushed, copied, found, pins, blobs, server, gone, platforms, engine.registry.tags("alpine", progress=lambda event: print(event.message)))
    engine.run("alpine", pull="always")
    engine.images.pull("alpine", policy="sometimes")  # type: ignore[call-overload]
    engine.images.pull("alpine", progress=print, stream=True)  # type: ignore[call-overload]
    engine.run("alpine", pull="maybe")  # type: ignore[call-overload]


def runs(engine: coble.Engine) -> None:
    done: coble.RunResult = engine.run(
        "demo", "echo hello", input=b"x", timeout=1.5, mem_limit="64m", cpus=0.5, extra_hosts={"db": "10.0.0.1"}, stderr=subprocess.DEVNULL
    )
    output: bytes = done.stdout
    words: coble.RunResult[str] = engine.run("demo", text=True)
    word: str = engine.run("demo", encoding="latin-1").stdout + words.stderr
    print(word)
    seconds: dict[str, float] = done.timings
    print(output, seconds, done.isolation.namespaces if done.isolation else None)
    engine.run("demo", memory_limit=1)  # type: ignore[call-overload]
    engine.run("demo", pull="often")  # type: ignore[call-overload]
    engine.run("demo", read_only="yes")  # type: ignore[call-overload]


def containers(engine: coble.Engine) -> None:
    ready = coble.wait.all_of(coble.wait.log(re.compile("ready")), coble.wait.any_of(coble.wait.file("/x"), coble.wait.exec(["true"])))
    with engine.containers.run("demo", ["sleep", "1"], wait=ready, wait_timeout=5) as container:
        code: int = container.exec(["true"], check=True, user=0).exit_code
        container.kill(signal.SIGTERM)
        with container.popen(["cat"], stdin=coble.PIPE, stdout=coble.PIPE) as process:
            assert process.stdin is not None
            process.stdin.write(b"x")
            out, err = process.communicate(timeout=1)
            print(out, err, process.returncode)
        with container.logs(follow=True, since=datetime.datetime.now(), tail=3) as stream:
            for record in stream:
                when: datetime.datetime = record.time
                print(when, record.data, record.stream == "stdout")
        lines: list[bytes] = list(container.logs().lines())
        print(code, lines, container.inspect().to_dict())
    try:
        engine.containers.get("x").wait(timeout=1)
    except coble.TimeoutError as error:
        hint: str | None = error.hint
        print(hint, error.kind, error.context)
    except coble.ContainerExitError as error:
        print(error.exit_code, error.stdout)
    token = coble.CancelToken()
    with token:
        token.cancel()


async def awaited(path: pathlib.Path) -> None:
    async with coble.aio.Engine(path, lock_file="coble.lock", offline=True) as engine:
        image: coble.aio.Image = await engine.images.pull("alpine")
        async with engine.images.push("registry.example/app", stream=True) as events:
            async for event in events:
                print(event.kind)
            pushed: coble.Pushed = await events.result()
        tags: list[str] = await engine.registry.tags("alpine")
        print(image, pushed, tags)
        done: coble.RunResult = await engine.run("demo")
        async with engine.containers.run("demo", wait=coble.wait.log("x")) as container:
            state: str = await container.state
            async for record in container.logs(follow=True):
                print(record.data)
            async for line in container.logs().lines():
                print(line)
            process: coble.aio.Process = await container.popen(["cat"])
            out, _ = await process.communicate()
            print(done, state, out)
        made: coble.aio.Container = await engine.containers.create("demo")
        await made.remove()
        images: list[coble.aio.Image] = await engine.images.list()
        print(await images[0].references)
