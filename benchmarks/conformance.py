"""Whether a server does what its description says, and answers what PyTorch does.

    python benchmarks/conformance.py ant_bee_classifier:latest --examples 1000
    python benchmarks/conformance.py ant_bee_classifier:latest --checkpoint saved_models/RUN/best.pt

Schemathesis asks every route of `/docs.json` with what its description allows and with what it does
not, as often as `--examples` says, and holds every answer to the description: its status, type,
headers and body. `conformance.toml` says what is checked, and what is not and why;
`conformance_hooks.py` what a picture is. The exit code is 1 if anything was found.

With `--checkpoint` every validation picture is sent instead, as a client sends it. PyTorch runs the
checkpoint on the pictures as torchvision's network takes them, and its logits are divided by the
temperature that the server names. Prints the largest difference in any probability and how many
pictures both get right. Either ends with one JSON line.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import torch

from antbee.images import Preprocessing, read_array
from antbee.training.checkpoint import load_checkpoint
from antbee.training.data import find_pictures
from antbee.training.network import restore_model
from servers import HERE, add_target, target

SHOWN: Final = ("schemathesis_version", "seed", "running_time", "operations", "test_cases")
"""What the JSON line has of schemathesis's own report, beside what was found."""


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="A server beside its description and PyTorch.")
    add = parser.add_argument
    add_target(parser)
    add("--examples", default="1000", help="cases of a route made at random")
    add("--seed", default="0")
    add("--checkpoint", type=Path, help="compare the answers with this one's instead")
    add("--data", type=Path, default=Path("data"), help="of the pictures that are compared")
    options = parser.parse_args(argv)
    with target(options) as (url, _, _):
        if options.checkpoint is not None:
            result = compare(url, options.checkpoint, options.data)
            for name, value in result.items():
                print(f"{name:20} {value}")
        else:
            result = check(url, options.examples, options.seed)
    print("\n" + json.dumps(result))
    return int(bool(result.get("found")))


def check(url: str, examples: str, seed: str) -> dict[str, Any]:
    """Hold a server to its description; what was `found` is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "conformance.toml"]
        command += ["run", f"{url}/docs.json", "--seed", seed, "--max-examples", examples]
        command += ["--report", "json", "--report-json-path", str(path)]
        environment = {**os.environ, "PYTHONPATH": str(HERE)}  # the hooks
        done = subprocess.run(command, cwd=HERE, env=environment, stdout=sys.stderr, check=False)  # noqa: S603
        if not path.exists():
            raise SystemExit("error: schemathesis failed; it says above why")
        report = json.loads(path.read_text("utf-8"))
    found = [*report["failures"], *report["errors"]]
    if done.returncode and not found:
        found = [f"schemathesis ended with {done.returncode}"]
    return {name: report[name] for name in SHOWN} | {"found": found}


def compare(url: str, best: Path, data: Path) -> dict[str, Any]:
    """Compare a server's probabilities of the validation pictures with a checkpoint's."""
    checkpoint, pictures = load_checkpoint(best), find_pictures(data / "val").pictures
    network = restore_model(checkpoint).eval()
    preprocessing = Preprocessing.of_size(checkpoint.arguments["size"])
    logits, answers = [], []
    with httpx.Client(base_url=url, timeout=30) as client, torch.inference_mode():
        model = client.get("/model").raise_for_status().json()
        for picture in pictures:
            content = picture.path.read_bytes()
            array = read_array(content, preprocessing)
            logits.append(network(torch.from_numpy(array)[None]))
            answer = client.post("/predict", content=content).raise_for_status().json()
            answers.append([answer["probabilities"][label] for label in checkpoint.labels])
    # Both are probabilities in float64: [pictures, labels].
    reference = (torch.cat(logits).double() / model["calibration"]["temperature"]).softmax(1)
    served = torch.tensor(answers, dtype=torch.float64)
    truth = torch.tensor([picture.label for picture in pictures])
    return {
        "pictures": len(truth),
        "largest_difference": float((reference - served).abs().max()),
        "labels_changed": int((reference.argmax(1) != served.argmax(1)).sum()),
        "right_pytorch": int((reference.argmax(1) == truth).sum()),
        "right_served": int((served.argmax(1) == truth).sum()),
    }


if __name__ == "__main__":
    raise SystemExit(main())
