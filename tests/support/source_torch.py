"""Small PyTorch modules, and the text of a module with factories."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


class Net(nn.Module):
    """One linear layer; two outputs in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = self.layer(image).softmax(dim=1)
        return {"label": scores.argmax(dim=1), "scores": scores}


class Pair(nn.Module):
    """Two inputs of which one is an id, one output without a name."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 3)

    def forward(self, ids: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.table(ids) * weight)


def save_program(model: nn.Module, args: tuple[torch.Tensor, ...], path: Path, *, dynamic: bool = True) -> Path:
    batch = torch.export.Dim("batch", min=1, max=512)
    shapes = tuple({0: batch} for _ in args) if dynamic else None
    torch.export.save(torch.export.export(model.eval(), args, dynamic_shapes=shapes), path)
    return path


FACTORY = """
import torch
from torch import nn

class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return x * self.scale

def good():
    return Scale(), {"x": torch.ones(1, 3)}

def positional():
    return Scale(), (torch.ones(4, 3),)

def number():
    return 3, None

def broken():
    raise RuntimeError("no weights here")
"""
