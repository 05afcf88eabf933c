"""Pictures, a packed model and a running server that the tests share."""

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from antbee.artifact import (
    HEAD,
    INDEX,
    INT8,
    ONNX,
    POOLED,
    WEIGHTS,
    PackedModel,
    read_model,
    write_model,
)
from antbee.images import IMAGENET, configure_pillow, read_array
from antbee.packing.export import export_head, export_onnx, export_weights
from antbee.packing.quantize import Quantization, quantize
from antbee.predictor import load_predictor
from antbee.training.network import build_model
from antbee.typicality import FEWEST, fit_boundary, write_typicality

REPOSITORY = Path(__file__).parents[1]
if "PYTEST_XDIST_WORKER" in os.environ:  # the other core is another worker's
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
LABELS = ("circle", "square", "triangle")
KEY = "open-sesame"
ORIGIN = "https://pages.example"
GUARDED = {
    "ANTBEE_ALLOW_URLS": "on",
    "ANTBEE_API_KEY": KEY,
    "ANTBEE_CORS_ORIGINS": ORIGIN,
    "ANTBEE_LOG": "json",
    "ANTBEE_MAX_BODY_MB": "0.1",
    "ANTBEE_MAX_MEGAPIXELS": "0.1",
}
"""What the server that is locked and limited is told, however it is served."""


def encode(image: Image.Image, format_: str = "JPEG", **options: object) -> bytes:
    """Encode a picture as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Make a picture of smooth random colours, which survives JPEG well."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)


def draw_splits(
    folder: Path, seeds: Mapping[str, Sequence[Sequence[int]]], size: tuple[int, int]
) -> None:
    """Draw pictures of noise into a folder: of each split and label, in order, one of each seed."""
    for split, labels in seeds.items():
        for label, mine in zip(LABELS, labels, strict=True):
            (folder / split / label).mkdir(parents=True)
            for number, seed in enumerate(mine):
                path = folder / split / label / f"{number}.jpg"
                path.write_bytes(encode(noise(*size, seed)))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep on one core what shares its fixtures: servers, the browser, and a file's tests."""
    if item.get_closest_marker("xdist_group") is None:
        group = item.path.parent if item.path.parent.name == "browser" else item.path
        if "bentoml_home" in getattr(item, "fixturenames", ()):
            group = REPOSITORY / "servers"
        item.add_marker(pytest.mark.xdist_group(str(group.relative_to(REPOSITORY))))


def pytest_sessionstart() -> None:
    """Let what tests start hear Ctrl-C, though whoever started these ignores it, as nohup does."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _pillow() -> None:
    """Let Pillow decode as it does in every command of ours."""
    configure_pillow()


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """Return a 320 by 240 JPEG."""
    return encode(noise(320, 240))


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedModel:
    """Pack a ResNet-18 with random weights, whose answers differ from picture to picture."""
    folder = tmp_path_factory.mktemp("packed")
    torch.manual_seed(0)
    network = build_model("resnet18", len(LABELS))
    with torch.inference_mode():  # batch-norm statistics of something like a picture
        network.train()(torch.randn(8, 3, 224, 224))
    export_weights(network, folder / WEIGHTS)
    export_head(network, folder / HEAD)
    export_onnx(network, folder / ONNX, 224, "layer3")
    write_model(PackedModel("resnet18", LABELS, "onnx", folder=folder, pooled="layer3"))
    return read_model(folder)


@pytest.fixture(scope="session")
def packed_int8(packed: PackedModel, tmp_path_factory: pytest.TempPathFactory) -> PackedModel:
    """Add an int8 network to a copy of the packed model; `auto` takes the faster one."""
    folder = tmp_path_factory.mktemp("packed_int8")
    shutil.copytree(packed.folder, folder, dirs_exist_ok=True)
    arrays = list(np.random.default_rng(0).standard_normal((4, 3, 224, 224), np.float32))
    quantize(folder / ONNX, folder / INT8, arrays, Quantization(4))
    write_model(replace(packed, candidates=("int8", "onnx"), folder=folder))
    return read_model(folder)


@pytest.fixture(scope="session")
def telling(packed: PackedModel, tmp_path_factory: pytest.TempPathFactory) -> PackedModel:
    """Let a copy of the packed model tell: what is brighter than `noise` is of no label."""
    folder = tmp_path_factory.mktemp("telling") / "model"
    shutil.copytree(packed.folder, folder, copy_function=os.link)
    (folder / INDEX).unlink()  # a link; what is written below is the copy's own
    arrays = [read_array(encode(noise(320, 240, seed)), IMAGENET) for seed in range(FEWEST)]
    white = read_array(encode(Image.new("RGB", (320, 240), "white")), IMAGENET)
    (inside,) = load_predictor(packed).outputs(np.stack(arrays), (POOLED,))
    (outside,) = load_predictor(packed).outputs(white[np.newaxis], (POOLED,))
    boundary = fit_boundary(inside, outside)
    write_typicality(replace(packed, folder=folder), boundary, {"onnx": boundary.scores(inside)})
    write_model(replace(packed, folder=folder, typicality={"reason": None}))
    return read_model(folder)


@pytest.fixture(scope="session")
def bentoml_home(tmp_path_factory: pytest.TempPathFactory, packed: PackedModel) -> Path:
    """Make a BentoML home of its own, with the packed model in its store."""
    home = tmp_path_factory.mktemp("bentoml")
    script = (
        "import bentoml, shutil, sys\n"
        "with bentoml.models.create('ant_bee_classifier') as model:\n"
        "    shutil.copytree(sys.argv[1], model.path, dirs_exist_ok=True)\n"
    )
    subprocess.run([sys.executable, "-c", script, packed.folder], env=environment(home), check=True)
    return home


def environment(home: Path, **settings: str) -> dict[str, str]:
    """Return an environment for BentoML in which only `settings` are set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANTBEE_")}
    return {**kept, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", **settings}


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def predict(
        self, body: bytes, content_type: str | None = None, **headers: str
    ) -> httpx.Response:
        """Post a body as it is; an underscore in a header's name stands for a hyphen."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            headers["Content-Type"] = content_type
        # There is no certificate to check, and finding those that could takes longer than this.
        url = f"{self.url}/predict"
        return httpx.post(url, content=body, headers=headers, timeout=30, verify=False)  # noqa: S501

    def logged(self, text: str) -> str:
        """Return the one line of the log with a text in it; it may come just after the answer."""
        for _ in range(100):
            if lines := [line for line in self.log.read_text().splitlines() if text in line]:
                (line,) = lines
                return line
            time.sleep(0.05)
        pytest.fail(f"{text} is not in the log")


StartServer = Callable[..., AbstractContextManager[Server]]
Command = Callable[[str, int], list[str]]
"""The arguments of `python -m` that serve a target on a port."""


@pytest.fixture(scope="session")
def start_server(bentoml_home: Path, tmp_path_factory: pytest.TempPathFactory) -> StartServer:
    """Return what starts `bentoml serve`, or gunicorn, and stops it again."""

    @contextmanager
    def start(
        target: str = ".",
        home: Path = bentoml_home,
        folder: Path = REPOSITORY,
        command: Command = bentoml_serve,
        **settings: str,
    ) -> Iterator[Server]:
        port = free_port()
        log = tmp_path_factory.mktemp("server") / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command(target, port)],
                cwd=folder,
                env=environment(home, **settings),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = Server(f"http://127.0.0.1:{port}", process, log)
        try:
            wait_until_ready(server)
            yield server
        finally:
            process.terminate()
            process.wait(30)

    return start


@pytest.fixture(scope="session")
def server(start_server: StartServer) -> Iterator[Server]:
    """Serve the packed model from the working folder, with default settings."""
    with start_server() as running:
        yield running
    assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="session")
def guarded(start_server: StartServer) -> Iterator[Server]:
    """Serve it with a key, small limits, one origin, a log in JSON, and addresses allowed."""
    with start_server(**GUARDED) as running:
        yield running
    assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="session")
def gunicorn_server(start_server: StartServer) -> Iterator[Server]:
    """Serve it under gunicorn: two workers, each with one thread and room for one more request."""
    settings = {"WEB_CONCURRENCY": "2", "ANTBEE_THREADS": "1", "ANTBEE_QUEUE": "1"}
    with start_server(command=gunicorn, **settings) as running:
        yield running
    log = running.log.read_text()
    assert not any(word in log for word in ("Traceback", "[WARNING]", "[ERROR]"))


def bentoml_serve(target: str, port: int) -> list[str]:
    """Serve with BentoML's own command."""
    return ["bentoml", "serve", target, "--host", "127.0.0.1", "--port", str(port)]


def gunicorn(target: str, port: int) -> list[str]:
    """Serve with gunicorn as on a dyno, as many workers as `WEB_CONCURRENCY` says."""
    conf = str(REPOSITORY / "heroku/gunicorn.conf.py")
    app = f"antbee.serving.bento_io:app({target!r})"
    return ["gunicorn", "--config", conf, "--bind", f"127.0.0.1:{port}", app]


def tool(name: str) -> str:
    """Return the path of a program that `make tools` installs; skip the test where it is not."""
    path = REPOSITORY / ".venv-tools/bin" / name
    if not path.exists():
        pytest.skip(f"there is no {name} here: make tools")
    return str(path)


def free_port() -> int:
    """Find a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(server: Server, seconds: float = 60) -> None:
    """Wait for the first 200 on `/readyz`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if httpx.get(f"{server.url}/readyz", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    pytest.fail(f"the server did not start:\n{server.log.read_text()}")
