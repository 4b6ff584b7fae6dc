"""ONNX graphs, built node by node: the portable standard dialect, and onnxruntime's own ops."""
