"""The instruction set by name; the numbers are those of runtime/cpp/ops/table.cc.

For each opcode its number and its words: d a size, s a state slot, w an integer, f a float.
"""

from __future__ import annotations

from typing import Final

OPCODES: Final[dict[str, tuple[int, str]]] = {
    "neg": (1, ""),
    "abs": (2, ""),
    "sign": (3, ""),
    "floor": (4, ""),
    "round": (5, ""),
    "sqrt": (6, ""),
    "rsqrt": (7, ""),
    "exp": (8, ""),
    "log": (9, ""),
    "sin": (10, ""),
    "cos": (11, ""),
    "tanh": (12, ""),
    "erf": (13, ""),
    "sigmoid": (14, ""),
    "logical_not": (15, ""),
    "add": (20, ""),
    "sub": (21, ""),
    "mul": (22, ""),
    "div": (23, ""),
    "mod": (24, ""),
    "pow": (25, ""),
    "maximum": (26, ""),
    "minimum": (27, ""),
    "equal": (28, ""),
    "less": (29, ""),
    "less_equal": (30, ""),
    "logical_and": (31, ""),
    "logical_or": (32, ""),
    "where": (33, ""),
    "cast": (40, ""),
    "copy": (41, ""),
    "full": (42, "ww"),
    "arange": (43, "d"),
    "pad": (44, "wdww"),
    "flip": (45, "w"),
    "gather": (46, "w"),
    "gather_elements": (47, "w"),
    "embedding": (48, ""),
    "sum": (50, "w"),
    "mean": (51, "w"),
    "max": (52, "w"),
    "min": (53, "w"),
    "argmax": (54, "w"),
    "cumsum": (55, "w"),
    "topk": (56, ""),
    "softmax": (57, ""),
    "linear": (60, "ww"),
    "gated_linear": (61, "ww"),
    "grouped_linear": (62, "ww"),
    "matmul": (63, ""),
    "conv": (64, "wwwwwwwww"),
    "selective_scan": (65, ""),
    "unpack": (66, ""),
    "recurrence": (67, "w"),
    "linear_attention": (68, ""),
    "rms_norm": (70, "ff"),
    "layer_norm": (71, "f"),
    "add_rms_norm": (72, "ff"),
    "add_layer_norm": (73, "f"),
    "activate": (74, "w"),
    "gated_activate": (75, "w"),
    "rope": (76, "w"),
    "quantize": (77, "w"),
    "append": (80, "s"),
    "write_state": (81, "s"),
    "load_cache": (82, ""),
    "attention": (83, "ffwww"),
}

#: The kernels' activations by the IR's names (kernels.h, enum Activation).
ACTIVATIONS: Final = {
    "silu": 1,
    "gelu": 2,
    "gelu_tanh": 3,
    "relu": 4,
    "sigmoid": 5,
    "tanh": 6,
    "gelu_sigmoid": 7,
}
NO_ACTIVATION: Final = 0

#: How a linear sees its input (kernels.h, enum Input).
INPUT_F32: Final = 0
INPUT_BF16: Final = 1
INPUT_INT8: Final = 2
INPUT_INT8_TWICE: Final = 3
