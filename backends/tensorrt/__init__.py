"""TensorRT engines out of standard-dialect ONNX graphs, with `tensorrt` or `tensorrt_rtx`."""
