"""Lets torchvision be imported beside a torch build that its operators were not compiled for; datasets need none."""

import importlib.util
import re
from pathlib import Path

import torch

__all__ = ["can_import_torchvision"]

_kept = []  # an operator lives as long as its library


def can_import_torchvision() -> bool:
    """Tells whether torchvision can be imported, after it has been made possible."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None:
        return False
    try:
        import torchvision

        return True
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):  # "... nms does not exist"
            raise
    source = (Path(spec.origin).parent / "_meta_registrations.py").read_text()
    library = torch.library.Library("torchvision", "FRAGMENT")
    _kept.append(library)
    for name in sorted(set(re.findall(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"', source))):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}() -> ()")
    import torchvision  # noqa: F401

    return True
