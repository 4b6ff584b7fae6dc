"""How each peer is installed, and how its model is made of a checkpoint."""

from __future__ import annotations

from benchmarks.engines import Engine, Step, environment, step

_TORCH = "torch==2.13.0"
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
        "llama.cpp/build/bin/llama-perplexity",
        "cmake --build llama.cpp/build --target llama-perplexity",
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


def llama(model: str, kind: str, form: str, *, amx: bool = True) -> Engine:
    """llama.cpp on its own converter's and quantizer's file, for this CPU or without its AMX."""
    whole, made = f"llama.cpp/{model}-bf16.gguf", f"llama.cpp/{model}-{kind.lower()}.gguf"
    convert = f"{{python}} {_LLAMA_SOURCE}/convert_hf_to_gguf.py {{{model}}} --outtype bf16"
    quantize = f"llama.cpp/build/bin/llama-quantize {whole} {made} {kind}"
    steps = (*_LLAMA, step(whole, f"{convert} --outfile {whole}"), step(made, quantize))
    build = "llama.cpp/build"
    if not amx:
        build = "llama.cpp/build-avx512"
        steps += _llama_build(build, f"-DGGML_NATIVE=OFF {_WITHOUT_AMX}")
    return Engine(
        name=f"llama.cpp {kind}" + ("" if amx else ", no AMX"),
        format=form,
        model=model,
        worker="llama_cpp",
        artifact=made,
        steps=steps,
        variables=(
            ("LLAMA_BENCH", f"{build}/bin/llama-bench"),
            ("LLAMA_PERPLEXITY", "llama.cpp/build/bin/llama-perplexity"),
        ),
        # Elsewhere it would be the same program once more.
        needs="" if amx else "amx_int8",
    )


def onnxruntime_genai(model: str) -> Engine:
    """onnxruntime-genai's int4: groups of 32, int8 inputs."""
    made = f"onnxruntime-genai/{model}-int4"
    command = (
        f"onnxruntime-genai/bin/python -m onnxruntime_genai.models.builder -m {{{model}}} -o {made}"
        " -p int4 -e cpu -c onnxruntime-genai/cache"
        " --extra_options int4_block_size=32 int4_accuracy_level=4"
    )
    return Engine(
        name="onnxruntime-genai int4",
        format="int4",
        model=model,
        worker="onnxruntime_genai",
        artifact=made,
        steps=(*_GENAI, step(made, command)),
        environment="onnxruntime-genai",
    )


def openvino_decoder(model: str, form: str, options: str) -> Engine:
    """OpenVINO GenAI on optimum-intel's export."""
    made = f"openvino/{model}-{form}"
    command = (
        f"openvino/bin/optimum-cli export openvino -m {{{model}}} --task text-generation-with-past"
        f" --weight-format {form} {options} {made}"
    )
    return Engine(
        name=f"OpenVINO GenAI {form}",
        format=form,
        model=model,
        worker="openvino_decoder",
        artifact=made,
        steps=(*_OPENVINO, step(made, command)),
        environment="openvino",
    )


def executorch(model: str) -> Engine:
    """ExecuTorch with XNNPACK: 8-bit inputs, 4-bit weights in groups of 32."""
    folder = f"executorch/{model}"
    made = f"{folder}/8da4w.pte"
    export = f"executorch/bin/python {{here}}/executorch_export.py {{{model}}} {folder}"
    return Engine(
        name="ExecuTorch 8da4w",
        format="int4",
        model=model,
        worker="executorch_decoder",
        artifact=made,
        steps=(*_EXECUTORCH, step(made, export)),
        environment="executorch",
    )


def onnxruntime_encoder(model: str) -> Engine:
    """onnxruntime on optimum's export."""
    made = f"onnxruntime/{model}"
    export = "onnxruntime/bin/optimum-cli export onnx --task feature-extraction"
    return Engine(
        name="onnxruntime fp32",
        format="f32",
        model=model,
        worker="onnxruntime_encoder",
        artifact=f"{made}/model.onnx",
        steps=(*_ONNXRUNTIME, step(made, f"{export} -m {{{model}}} {made}")),
        environment="onnxruntime",
    )


def openvino_encoder(model: str) -> Engine:
    """OpenVINO on optimum-intel's export, in the precision that it takes by itself."""
    made = f"openvino/{model}"
    export = "openvino/bin/optimum-cli export openvino --task feature-extraction"
    return Engine(
        name="OpenVINO bf16",
        format="bf16",
        model=model,
        worker="openvino_encoder",
        artifact=f"{made}/openvino_model.xml",
        steps=(*_OPENVINO, step(made, f"{export} -m {{{model}}} --weight-format fp32 {made}")),
        environment="openvino",
    )


def ctranslate2_encoder(model: str) -> Engine:
    """CTranslate2 on its own converter's int8 model."""
    made = f"ctranslate2/{model}-int8"
    convert = f"ctranslate2/bin/ct2-transformers-converter --model {{{model}}} --quantization int8"
    return Engine(
        name="CTranslate2 int8",
        format="int8",
        model=model,
        worker="ctranslate2_encoder",
        artifact=made,
        steps=(*_CTRANSLATE2, step(made, f"{convert} --output_dir {made}")),
        environment="ctranslate2",
    )
