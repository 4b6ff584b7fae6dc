"""Which engines are measured, on what, and how each is installed and its model made: tables."""

from __future__ import annotations

from dataclasses import dataclass

_TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class Step:
    """One command, run in the peers' folder unless what it makes is there.

    `{python}` is our own Python, `{here}` this folder, `{smollm2}` and `{minilm}` the checkpoints.
    A name that ends in `.done` is a mark, written after the command.
    """

    makes: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Engine:
    """One engine on one model file; `format` is what it is compared within."""

    name: str
    format: str
    model: str
    worker: str
    artifact: str
    steps: tuple[Step, ...]
    environment: str = ""
    """The folder of its virtual environment; empty: our own Python."""
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it is smelt."""
        return self.name.startswith("smelt")


def step(makes: str, command: str) -> Step:
    """A step whose command's words have no spaces."""
    return Step(makes, tuple(command.split()))


def environment(name: str, *installs: str) -> tuple[Step, ...]:
    """A virtual environment, and pip's installs into it one after the other."""
    lines = [
        step(f"{name}/.{index}.done", f"{name}/bin/python -m pip install -q {packages}")
        for index, packages in enumerate(installs)
    ]
    return (step(f"{name}/bin/python", f"{{python}} -m venv {name}"), *lines)


_LLAMA_SOURCE = "llama.cpp/llama_cpp_python-0.3.36/vendor/llama.cpp"
_LLAMA_OPTIONS = (
    "-G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_TESTS=OFF"
    " -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF"
)
_WITHOUT_AMX = " ".join(
    f"-DGGML_{name}=ON"
    for name in [
        "AVX",
        "AVX2",
        "FMA",
        "F16C",
        "BMI2",
        "AVX512",
        "AVX512_VBMI",
        "AVX512_VNNI",
        "AVX512_BF16",
    ]
)


def _llama_build(folder: str, options: str) -> tuple[Step, ...]:
    return (
        step(
            f"{folder}/build.ninja",
            f"cmake -S {_LLAMA_SOURCE} -B {folder} {_LLAMA_OPTIONS} {options}",
        ),
        step(
            f"{folder}/bin/llama-bench",
            f"cmake --build {folder} --target llama-bench llama-quantize",
        ),
    )


_LLAMA = (
    step("llama.cpp", "mkdir -p llama.cpp"),
    step(
        "llama.cpp/llama_cpp_python-0.3.36.tar.gz",
        "{python} -m pip download -q --no-deps --no-binary=:all: --no-build-isolation"
        " -d llama.cpp llama-cpp-python==0.3.36",
    ),
    step(_LLAMA_SOURCE, "tar xf llama.cpp/llama_cpp_python-0.3.36.tar.gz -C llama.cpp"),
    # Without this GCC 12 drops the tiles' sizes as stores that nobody reads, and every AMX kernel
    # of this version traps (llama.cpp's issue 20824).
    Step(
        "llama.cpp/tiles.done",
        (
            *("sed", "-i"),
            r's/ _tile_loadconfig(&tc);/ __asm__ volatile("" :: "r"(\&tc) : "memory");&/',
            f"{_LLAMA_SOURCE}/ggml/src/ggml-cpu/amx/mmq.cpp",
        ),
    ),
    *_llama_build("llama.cpp/build", "-DGGML_NATIVE=ON"),
    step(
        "llama.cpp/smollm2-bf16.gguf",
        f"{{python}} {_LLAMA_SOURCE}/convert_hf_to_gguf.py {{smollm2}} --outtype bf16"
        " --outfile llama.cpp/smollm2-bf16.gguf",
    ),
)
_GENAI = environment(
    "onnxruntime-genai",
    "onnxruntime-genai==0.18.*",
    f"{_TORCH} transformers>=5,<6 onnx onnx-ir",
)
# optimum-intel brings a torchvision that its own torch does not fit.
_OPENVINO = (
    *environment("openvino", "openvino-genai==2026.4.*", f"{_TORCH} optimum-intel nncf"),
    step("openvino/.2.done", "openvino/bin/python -m pip uninstall -q -y torchvision"),
)
_CTRANSLATE2 = environment("ctranslate2", "ctranslate2==4.8.*", f"{_TORCH} transformers<5")
_ONNXRUNTIME = environment(
    "onnxruntime", f"{_TORCH} optimum-onnx[onnxruntime]==0.1.* transformers==4.57.*"
)
_EXECUTORCH = environment(
    "executorch",
    f"{_TORCH} executorch==1.5.*",
    "safetensors omegaconf hydra-core transformers<5",
)


def _smelt(name: str, form: str, model: str, worker: str, options: str) -> Engine:
    made = f"smelt/{model}-{form}.smelt"
    command = f"{{python}} -m smelt.cli compile {{{model}}} --target edge {options}"
    made_by = step(made, f"{command} --no-verify -o {made}")
    return Engine(name, form, model, worker, made, (made_by,))


def _llama(kind: str, form: str, *, amx: bool = True) -> Engine:
    made = f"llama.cpp/smollm2-{kind.lower()}.gguf"
    quantize = f"llama.cpp/build/bin/llama-quantize llama.cpp/smollm2-bf16.gguf {made} {kind}"
    steps = (*_LLAMA, step(made, quantize))
    build = "llama.cpp/build"
    if not amx:
        build = "llama.cpp/build-avx512"
        steps += _llama_build(build, f"-DGGML_NATIVE=OFF {_WITHOUT_AMX}")
    return Engine(
        name=f"llama.cpp {kind}" + ("" if amx else ", no AMX"),
        format=form,
        model="smollm2",
        worker="llama_cpp",
        artifact=made,
        steps=steps,
        variables=(("LLAMA_BENCH", f"{build}/bin/llama-bench"),),
    )


def _openvino(form: str, options: str) -> Engine:
    made = f"openvino/smollm2-{form}"
    command = (
        "openvino/bin/optimum-cli export openvino -m {smollm2} --task text-generation-with-past"
        f" --weight-format {form} {options} {made}"
    )
    return Engine(
        name=f"OpenVINO GenAI {form}",
        format=form,
        model="smollm2",
        worker="openvino_decoder",
        artifact=made,
        steps=(*_OPENVINO, step(made, command)),
        environment="openvino",
    )


DECODERS = (
    _smelt(
        "smelt int4",
        "int4",
        "smollm2",
        "smelt_decoder",
        "--quant int4,group=32 --kv f16 --context 1024",
    ),
    _llama("Q4_0", "int4"),
    _llama("Q4_0", "int4", amx=False),
    Engine(
        name="onnxruntime-genai int4",
        format="int4",
        model="smollm2",
        worker="onnxruntime_genai",
        artifact="onnxruntime-genai/smollm2-int4",
        steps=(
            *_GENAI,
            step(
                "onnxruntime-genai/smollm2-int4",
                "onnxruntime-genai/bin/python -m onnxruntime_genai.models.builder -m {smollm2}"
                " -o onnxruntime-genai/smollm2-int4 -p int4 -e cpu -c onnxruntime-genai/cache"
                " --extra_options int4_block_size=32 int4_accuracy_level=4",
            ),
        ),
        environment="onnxruntime-genai",
    ),
    _openvino("int4", "--group-size 32 --sym --ratio 1.0"),
    Engine(
        name="ExecuTorch 8da4w",
        format="int4",
        model="smollm2",
        worker="executorch_decoder",
        artifact="executorch/smollm2/smollm2-8da4w.pte",
        steps=(
            *_EXECUTORCH,
            step(
                "executorch/smollm2/smollm2-8da4w.pte",
                "executorch/bin/python {here}/executorch_export.py {smollm2} executorch/smollm2",
            ),
        ),
        environment="executorch",
    ),
    _smelt(
        "smelt int8",
        "int8",
        "smollm2",
        "smelt_decoder",
        "--quant int8,group=32 --kv f16 --context 1024",
    ),
    _llama("Q8_0", "int8"),
    _llama("Q8_0", "int8", amx=False),
    _openvino("int8", ""),
    _smelt("smelt f32", "float", "smollm2", "smelt_decoder", "--context 1024"),
    _llama("BF16", "float"),
)

ENCODERS = (
    _smelt("smelt f32", "float", "minilm", "smelt_encoder", ""),
    Engine(
        name="onnxruntime fp32",
        format="float",
        model="minilm",
        worker="onnxruntime_encoder",
        artifact="onnxruntime/minilm/model.onnx",
        steps=(
            *_ONNXRUNTIME,
            step(
                "onnxruntime/minilm",
                "onnxruntime/bin/optimum-cli export onnx -m {minilm} --task feature-extraction"
                " onnxruntime/minilm",
            ),
        ),
        environment="onnxruntime",
    ),
    Engine(
        name="OpenVINO bf16",
        format="float",
        model="minilm",
        worker="openvino_encoder",
        artifact="openvino/minilm/openvino_model.xml",
        steps=(
            *_OPENVINO,
            step(
                "openvino/minilm",
                "openvino/bin/optimum-cli export openvino -m {minilm} --task feature-extraction"
                " --weight-format fp32 openvino/minilm",
            ),
        ),
        environment="openvino",
    ),
    _smelt("smelt int8", "int8", "minilm", "smelt_encoder", "--quant int8,group=32"),
    Engine(
        name="CTranslate2 int8",
        format="int8",
        model="minilm",
        worker="ctranslate2_encoder",
        artifact="ctranslate2/minilm-int8",
        steps=(
            *_CTRANSLATE2,
            step(
                "ctranslate2/minilm-int8",
                "ctranslate2/bin/ct2-transformers-converter --model {minilm} --quantization int8"
                " --output_dir ctranslate2/minilm-int8",
            ),
        ),
        environment="ctranslate2",
    ),
)
