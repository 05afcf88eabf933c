"""A `DataLoader` and a loop, as one classifies with PyTorch, for `predicting.py` to run.

Preprocessing is what torchvision's weights come with. Writes a line `path,label,probability` for
each picture, the label by its number.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import models
from torchvision.io import ImageReadMode, decode_image


class Folder(Dataset[tuple[Tensor, str]]):
    """The pictures below a folder, prepared, and their paths.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.paths = [str(path) for path in sorted(root.rglob("*.*")) if path.is_file()]
        self.prepare = models.ResNet18_Weights.DEFAULT.transforms()

    def __len__(self) -> int:
        """How many there are."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, str]:
        """One picture, float32 [3, 224, 224], and its path."""
        path = self.paths[index]
        return self.prepare(decode_image(path, ImageReadMode.RGB)), path


def main(argv: Sequence[str] | None = None) -> int:
    """Classify, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="a state dict")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(argv)
    state = torch.load(options.weights, weights_only=True)
    model = models.get_model(options.arch, num_classes=len(state["fc.bias"])).eval()
    model.load_state_dict(state)
    loader = DataLoader(
        Folder(options.pictures), batch_size=options.batch, num_workers=options.workers
    )
    with torch.inference_mode(), options.out.open("w") as file:
        for pictures, paths in loader:
            best = model(pictures).softmax(1).max(1)
            for path, label, chance in zip(paths, best.indices, best.values, strict=True):
                file.write(f"{path},{int(label)},{float(chance):.4f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
