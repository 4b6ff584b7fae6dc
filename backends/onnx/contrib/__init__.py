"""Rows of the ort dialect: onnxruntime's own ops, tried before the standard rows."""
