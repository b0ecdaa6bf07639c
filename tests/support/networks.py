"""Networks that no checksum shows to be unsafe, in the public shapes of CVEs, written by h5py."""

from __future__ import annotations

import base64
import json
import marshal
from typing import TYPE_CHECKING, Any

import h5py

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[h5py.File], None]

BYTECODE = base64.b64encode(marshal.dumps((lambda x: x).__code__)).decode()
KERAS_3_FUNCTION = {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "function"}


def configured(layer: Any) -> Write:
    def write(file: h5py.File) -> None:
        model = {"class_name": "Functional", "config": {"name": "model", "layers": [layer]}}
        file.attrs["model_config"] = json.dumps(model)

    return write


def trained(loss: Any) -> Write:
    def write(file: h5py.File) -> None:
        training = {"optimizer_config": {"class_name": "Adam", "config": {}}, "loss": loss, "metrics": ["mse"]}
        file.attrs["training_config"] = json.dumps(training)

    return write


def link(file: h5py.File) -> None:
    file["more"] = h5py.ExternalLink("/etc/passwd", "/")


def storage(file: h5py.File) -> None:
    file.create_dataset("more", (10,), "u1", external=[("/etc/passwd", 0, 10)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((10,), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (10,))
    file.create_virtual_dataset("more", layout)


LEADING_OUT: dict[str, Write] = {  # CVE-2026-1669
    "external link": link,
    "external storage": storage,
    "virtual dataset": virtual,
}
BYTECODE_LAYER = {
    "class_name": "Lambda",
    "config": {"name": "evil", "function": [BYTECODE, None, None], "function_type": "lambda"},
}
LAYERS: dict[str, Any] = {
    "CVE-2025-1550": {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "evil", "function": KERAS_3_FUNCTION, "arguments": {"source": "raise SystemExit"}},
    },
    "CVE-2025-9905": BYTECODE_LAYER,
    "a class of another module": {"module": "subprocess", "class_name": "Popen", "config": {"name": "evil"}},
    "a vocabulary file": {"class_name": "StringLookup", "config": {"name": "evil", "vocabulary": "/etc/passwd"}},
}
LAMBDA = configured(BYTECODE_LAYER)
CODE = {name: configured(layer) for name, layer in LAYERS.items()}
TRAINED_CODE = {name: trained(layer) for name, layer in LAYERS.items()}
LAMBDA_SAID = "Python bytecode in the layer 'evil' of its model_config"


def write_network(path: Path, write: Write) -> Path:
    with h5py.File(path, "w") as file:
        file["weights"] = [1.0]
        write(file)
    return path


def break_h5py(directory: Path) -> Path:
    """Make a directory for PYTHONPATH with an h5py that cannot be imported."""
    (directory / "h5py").mkdir(parents=True)
    (directory / "h5py/__init__.py").write_text("raise ImportError('a library is missing')")
    return directory
