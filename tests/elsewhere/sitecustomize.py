"""Another machine, as far as numbers go: what Python runs first when this folder is in PYTHONPATH (see tests/again.py).

RAGKIT_NOISE: every number that a model gives moves by at most so much of its row's length, as it does from processor to
processor. RAGKIT_CORES: the machine has so many cores, as far as Python tells; Edge's segments follow them.
"""

import importlib.abc
import importlib.util
import os
import sys

_MODELS = "onnxruntime.capi.onnxruntime_inference_collection"


def _moved(outputs, noise):
    import zlib

    import numpy as np

    moved = []
    for output in outputs:
        if isinstance(output, np.ndarray) and output.dtype == np.float32:
            rng = np.random.default_rng(zlib.crc32(output.tobytes()))  # equal texts move alike
            length = np.linalg.norm(output, axis=-1, keepdims=True)
            output = (output + noise * length * rng.uniform(-1, 1, output.shape)).astype(np.float32)
        moved.append(output)
    return moved


class _Noisy(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Has the models' library give its numbers with noise."""

    def __init__(self, noise):
        self.noise, self.real, self.asked = noise, None, False

    def find_spec(self, name, path, target=None):
        if name != _MODELS or self.asked:
            return None
        self.asked = True
        self.real = importlib.util.find_spec(name)  # asks the other finders, as this one has stepped aside
        if self.real is None or self.real.loader is None:
            return self.real
        return importlib.util.spec_from_loader(name, self, origin=self.real.origin)

    def create_module(self, spec):
        return importlib.util.module_from_spec(self.real)

    def exec_module(self, module):
        self.real.loader.exec_module(module)
        run = module.Session.run
        module.Session.run = lambda *given, **named: _moved(run(*given, **named), self.noise)


if "RAGKIT_CORES" in os.environ:
    os.cpu_count = lambda: int(os.environ["RAGKIT_CORES"])
    os.sched_getaffinity = lambda pid: set(range(os.cpu_count()))
if "RAGKIT_NOISE" in os.environ:
    sys.meta_path.insert(0, _Noisy(float(os.environ["RAGKIT_NOISE"])))
