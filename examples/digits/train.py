"""Train two versions of a classifier of handwritten digits, with one contract, on the data that scikit-learn brings.

Version 1 is a scikit-learn pipeline saved by skops, version 2 a small convolutional network saved by torch.export.
Both take ``image`` FP32 [-1, 64] (8 by 8 grey values, 0 to 16) and return ``label`` INT64 [-1, 1] and
``probabilities`` FP32 [-1, 10], so version 2 can replace version 1 under the same clients.

    python examples/digits/train.py build/digits
    model-packager export build/digits/v1.skops --name digits --version 1 --sample build/digits/sample.npz -o ...
    model-packager export build/digits/v2.pt2   --name digits --version 2 --sample build/digits/sample.npz -o ...
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import skops.io  # type: ignore[import-untyped]
import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import MinMaxScaler  # type: ignore[import-untyped]
from torch import nn

SEED = 7
EPOCHS = 25
BATCH = 128
SAMPLE_ROWS = 16

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


class DigitsNet(nn.Module):
    """Two convolutions over an 8 by 8 image; returns what the scikit-learn version returns, under the same names."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Linear(16 * 4 * 4, 10)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.features(image.reshape(-1, 1, 8, 8) / 16).flatten(1))
        return found

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        probabilities = self.logits(image).softmax(dim=1)
        return {"label": probabilities.argmax(dim=1), "probabilities": probabilities}


def train_v1(images: Images, labels: Labels, path: Path) -> LogisticRegression:
    """Fit the pipeline and save it."""
    model = make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=500)).fit(images, labels)
    skops.io.dump(model, path)
    return model


def train_v2(images: Images, labels: Labels, path: Path) -> DigitsNet:
    """Fit the network and save it with a free batch size."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # sums in one order: the same weights on every machine of a kind
    model = DigitsNet()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    inputs, targets = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(inputs)), BATCH):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model.logits(inputs[batch]), targets[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    batch_size = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(model.eval(), (inputs[:4],), dynamic_shapes={"image": {0: batch_size}})
    torch.export.save(program, path)
    return model


def main() -> None:
    """Train both versions into a folder and print their accuracy on held-out images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for v1.skops, v2.pt2 and sample.npz")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    data = load_digits()
    images, labels = data.data.astype(np.float32), data.target.astype(np.int64)
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, test_size=0.25, random_state=SEED, stratify=labels
    )
    np.savez(out / "sample.npz", image=test_x[:SAMPLE_ROWS])

    v1 = train_v1(train_x, train_y, out / "v1.skops")
    print(f"v1 scikit-learn test accuracy {(v1.predict(test_x) == test_y).mean():.4f}")
    v2 = train_v2(train_x, train_y, out / "v2.pt2")
    with torch.inference_mode():
        predicted = v2(torch.from_numpy(test_x))["label"].numpy()
    print(f"v2 torch        test accuracy {(predicted == test_y).mean():.4f}")


if __name__ == "__main__":
    main()
