"""An ONNX artifact's part of the manifest."""

from __future__ import annotations

from smelt.backends.onnx.emit import Emitted
from smelt.runtime.manifest import KvPlan, Manifest


def told(manifest: Manifest, emitted: Emitted) -> Manifest:
    """The manifest with what the graphs say: files, state, features that the runtime must have."""
    kv = manifest.kv
    if kv is None and manifest.context and any(s.kind == "append" for s in emitted.state):
        dtype = next(s.dtype for s in emitted.state if s.kind == "append")
        kv = KvPlan(dtype=dtype, capacity=manifest.context)
    if kv is not None:
        kv = kv.model_copy(update={"share_buffer": emitted.share_buffer})
    return manifest.model_copy(
        update={
            "functions": emitted.functions,
            "state": emitted.state,
            "weights_bytes": emitted.weights_bytes,
            "requires": emitted.requires,
            "options": {**manifest.options, **emitted.options},
            "kv": kv,
        }
    )
