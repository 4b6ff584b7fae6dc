"""The command line: `smelt compile`, plan, run, chat, serve, bench, verify, inspect, specs.

Exit codes: 0 done, 1 error, 2 spec or usage, 3 checkpoint, 4 unsupported, 5 artifact, 6 parity,
130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import smelt
from smelt import console
from smelt.errors import ArtifactError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Compile Hugging Face checkpoints to torch, ONNX, TensorRT and edge artifacts.",
)

listed = typer.Typer(invoke_without_command=True)
app.add_typer(listed, name="specs")

Artifact = Annotated[Path, typer.Argument(metavar="OUT", help="A compiled artifact.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Threads = Annotated[int | None, typer.Option(help="Cores to use.")]
Context = Annotated[int | None, typer.Option(help="Tokens the state can hold.")]
Device = Annotated[str | None, typer.Option(help="For torch: cpu or cuda.")]
NewTokens = Annotated[int | None, typer.Option("--max-new-tokens", "-n", help="Most tokens.")]
Temperature = Annotated[float | None, typer.Option("--temperature", "-t", help="0 is greedy.")]
TopK = Annotated[int | None, typer.Option(help="Keep the k likeliest tokens.")]
TopP = Annotated[float | None, typer.Option(help="Keep the likeliest tokens up to this mass.")]
MinP = Annotated[float | None, typer.Option(help="Keep tokens this likely next to the best.")]
Penalty = Annotated[float | None, typer.Option("--repetition-penalty", help="Over 1: repeat less.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same tokens.")]
Beams = Annotated[int | None, typer.Option("--num-beams", help="Search with so many beams.")]
Draft = Annotated[Path | None, typer.Option(help="An artifact that guesses; the model checks.")]
More = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Any other option of generation."),
]
Stop = Annotated[list[str] | None, typer.Option(help="Stop before this text; can be repeated.")]
MaxMemory = Annotated[
    str | None, typer.Option("--max-memory", help="Refuse to need more: 512MB, 1.5GiB.")
]
System = Annotated[str | None, typer.Option(help="The system message.")]


@app.command()
def compile(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Directory, GGUF file or Hub id.")],
    target: Annotated[str, typer.Option(help="torch, onnx, tensorrt or edge.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the artifact goes.")],
    dialect: Annotated[str | None, typer.Option(help="onnx: standard or ort.")] = None,
    quant: Annotated[str | None, typer.Option(help="For example int4,group=32, or bf16.")] = None,
    kv: Annotated[str | None, typer.Option(help="Cache type: f32, f16, bf16 or int8.")] = None,
    task: Annotated[
        str | None, typer.Option(help="What to build, if not what config says.")
    ] = None,
    context: Context = None,
    hidden: Annotated[
        str | None, typer.Option(help="Give hidden states beside the logits: last or all.")
    ] = None,
    spec: Annotated[Path | None, typer.Option(help="An architecture of your own.")] = None,
    dtype: Annotated[str, typer.Option(help="torch only: f32, bf16 or f16.")] = "f32",
    revision: Annotated[str | None, typer.Option(help="Commit, branch or tag on the Hub.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Use only what is here.")] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Make no certificate.")] = False,
    dump_ir: Annotated[Path | None, typer.Option(help="Write the IR after each step.")] = None,
    explain: Annotated[str | None, typer.Option(help="Say what a pass or pattern did.")] = None,
    as_json: Json = False,
) -> None:
    """Compile a checkpoint, prove it, and write the artifact."""
    from smelt.freed_memory import give_back_at_once
    from smelt.inspecting import explain as explained
    from smelt.inspecting import human, read_report, text_line, verdict

    give_back_at_once()
    with console.reported(as_json=as_json):
        with console.Bars(quiet=as_json) as bars:
            made = smelt.compile(
                source,
                target=target,
                out=out,
                dialect=dialect,
                quant=quant,
                kv=kv,
                task=task,
                context=context,
                hidden=hidden,
                spec=spec,
                dtype=dtype,
                revision=revision,
                offline=offline,
                verify=not no_verify,
                dump_ir=dump_ir,
                progress=bars,
            )
        size = _size(made.path)
        certificate = made.manifest.certificate
        if as_json:
            console.print_json(
                {
                    "out": str(made.path),
                    "target": made.manifest.target,
                    "task": made.manifest.task,
                    "bytes": size,
                    "certificate": certificate and certificate.model_dump(mode="json"),
                    "steps": [receipt.as_dict() for receipt in made.receipts],
                }
            )
            return
        if explain is not None:
            console.write(explained(read_report(made.path), explain))
        name = made.manifest.model_type
        console.say(f"{name} {made.manifest.task} → {made.path} ({human(size)})")
        console.say(f"certificate: {verdict(certificate)}")
        for check in certificate.text if certificate else ():
            console.say(text_line(check))


@app.command()
def run(
    artifact: Artifact,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Prompt or texts.")],
    max_new_tokens: NewTokens = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repetition_penalty: Penalty = None,
    seed: Seed = None,
    stop: Stop = None,
    num_beams: Beams = None,
    draft: Draft = None,
    option: More = None,
    system: System = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="No chat template: continue the text.")
    ] = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="Print speeds to stderr.")] = False,
    context: Context = None,
    threads: Threads = None,
    max_memory: MaxMemory = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Answer a prompt, or embed, classify or fill texts, as the artifact's task says."""
    from smelt.running import read_options, run_texts

    options = _given(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
        stop=stop,
        num_beams=num_beams,
    )
    with console.reported(as_json=as_json):
        opening = _given(context=context, threads=threads, device=device)
        options |= read_options(option or ())
        if draft is not None:
            options["draft"] = smelt.open(draft, **opening)
        session = smelt.open(artifact, **opening, **_budget(max_memory))
        run_texts(
            session,
            ["".join(sys.stdin) if text == "-" else text for text in texts],
            options,
            system=system,
            raw=raw,
            show_metrics=metrics,
            as_json=as_json,
        )


@app.command()
def chat(
    artifact: Artifact,
    max_new_tokens: NewTokens = 1024,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repetition_penalty: Penalty = None,
    seed: Seed = None,
    num_beams: Beams = None,
    draft: Draft = None,
    option: More = None,
    system: System = None,
    context: Context = None,
    threads: Threads = None,
    max_memory: MaxMemory = None,
    device: Device = None,
) -> None:
    """Talk with a chat model; /reset starts anew, /exit or end of input leaves."""
    from smelt.running import converse, read_options

    options = _given(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
        num_beams=num_beams,
    )
    with console.reported(as_json=False):
        opening = _given(context=context, threads=threads, device=device)
        options |= read_options(option or ())
        if draft is not None:
            options["draft"] = smelt.open(draft, **opening)
        session = smelt.open(artifact, **opening, **_budget(max_memory))
        converse(session, options, system=system)


@app.command()
def serve(
    artifact: Artifact,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    name: Annotated[
        str | None, typer.Option(help="The model's name in requests; else the file's.")
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, max=4096, help="Requests, or texts, computed together.")
    ] = 16,
    waiting: Annotated[
        int, typer.Option(min=0, help="Requests that may wait; more are answered 429.")
    ] = 256,
    context: Context = None,
    threads: Threads = None,
    max_memory: MaxMemory = None,
    device: Device = None,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            envvar="SMELT_API_KEY", help="Opens /v1; can be repeated. Better in the environment."
        ),
    ] = None,
    max_body: Annotated[str, typer.Option(help="The largest body: 8MiB.")] = "8MiB",
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that running requests get after SIGTERM.")
    ] = 30.0,
) -> None:
    """Serve a model or an encoder with OpenAI's endpoints, until SIGTERM."""
    from smelt.planning import parse_size
    from smelt.serving import serve as served

    with console.reported(as_json=False):
        opening = _given(context=context, threads=threads, device=device) | _budget(max_memory)
        served(
            artifact,
            name=name,
            opening=opening,
            host=host,
            port=port,
            rows=rows,
            waiting=waiting,
            api_keys=tuple(api_key or ()),
            max_body=parse_size(max_body),
            grace=grace,
        )


@app.command()
def bench(
    artifact: Artifact,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Length of the prompt.")] = 128,
    new_tokens: Annotated[int, typer.Option(min=2, help="Tokens to generate.")] = 64,
    repeat: Annotated[int, typer.Option(min=1, help="Rounds; medians are shown.")] = 3,
    profile: Annotated[
        bool, typer.Option("--profile", help="Edge: time, bytes and FLOPs of each kind of layer.")
    ] = False,
    context: Context = None,
    threads: Threads = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Measure open time, prefill and decode speed, and peak memory."""
    from smelt.bench import bench as measure
    from smelt.inspecting import human

    with console.reported(as_json=as_json):
        options = _given(context=context, threads=threads, device=device)
        if profile:
            from smelt.profiling import profile as profiled
            from smelt.profiling import show

            found_profile = profiled(
                artifact, prompt_tokens=prompt_tokens, repeat=repeat, **options
            )
            if as_json:
                console.print_json(found_profile.to_dict())
            else:
                show(found_profile)
            return
        with console.Bars(quiet=as_json) as bars:
            found = measure(
                artifact,
                prompt_tokens=prompt_tokens,
                new_tokens=new_tokens,
                repeat=repeat,
                progress=bars,
                **options,
            )
        if as_json:
            console.print_json({**found.to_dict(), "artifact_bytes": _size(artifact)})
            return
        rows = [
            ["size", human(_size(artifact))],
            ["open", f"{found.open_seconds:.2f} s"],
            ["first token", f"{found.first_token_seconds * 1e3:.1f} ms"],
            [f"prefill {prompt_tokens}", f"{found.prefill_tokens_per_second:.1f} tokens/s"],
        ]
        if found.new_tokens:
            decode = f"{found.decode_tokens_per_second:.1f} tokens/s"
            rows.append([f"decode {found.new_tokens}", decode])
        rows += [[name, human(size)] for name, size in found.engine_bytes.items() if size]
        rows.append(["peak memory", human(found.peak_memory_bytes)])
        console.table("", [artifact.name, f"median of {repeat}"], rows)


@app.command()
def plan(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Directory, GGUF file or Hub id.")],
    target: Annotated[str, typer.Option(help="edge is what can be planned.")] = "edge",
    quant: Annotated[str | None, typer.Option(help="For example int4,group=32.")] = None,
    kv: Annotated[str | None, typer.Option(help="Cache type: f32, f16, bf16 or int8.")] = None,
    task: Annotated[str | None, typer.Option(help="What to plan for.")] = None,
    context: Context = None,
    batch: Annotated[int, typer.Option(min=1, help="Rows at once.")] = 1,
    threads: Threads = None,
    max_memory: MaxMemory = None,
    spec: Annotated[Path | None, typer.Option(help="An architecture of your own.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, branch or tag on the Hub.")] = None,
    as_json: Json = False,
) -> None:
    """Say what memory an edge artifact will take, from config and headers alone."""
    from smelt.inspecting import human
    from smelt.planning import plan as planned

    with console.reported(as_json=as_json):
        with console.Bars(quiet=as_json) as bars:
            found = planned(
                source,
                target=target,
                quant=quant,
                kv=kv,
                task=task,
                context=context,
                batch=batch,
                threads=threads,
                spec=spec,
                revision=revision,
                progress=bars,
                **_budget(max_memory),
            )
        if as_json:
            console.print_json(found.to_dict())
            return
        session = [f"batch {found.batch}", f"{found.threads} threads"]
        if found.context is not None:
            session.insert(0, f"context {found.context}")
        rows = [
            ["weights", human(found.weights), f"{found.weights}"],
            ["state", human(found.state), f"{found.state}"],
            ["activations", human(found.activations), f"{found.activations}"],
            ["total", human(found.total), f"{found.total}"],
        ]
        console.table("", [f"{found.model_type} {found.task}", ", ".join(session), "bytes"], rows)


@app.command()
def verify(artifact: Artifact, threads: Threads = None, as_json: Json = False) -> None:
    """Run the artifact again on its certificate's inputs, and check every byte."""
    from smelt.inspecting import text_line
    from smelt.runtime.certificate import TextCheck
    from smelt.verifying import verify_artifact

    with console.reported(as_json=as_json):
        with console.Bars(quiet=as_json) as bars:
            found = verify_artifact(artifact, progress=bars, **_given(threads=threads))
        if as_json:
            console.print_json(found)
            return
        worst, allowed = found["worst_error"], found["tolerance"]
        console.say(
            f"verified: {found['files']} files, worst error {worst:.1e} of the largest value "
            f"(allowed {allowed:.1e})"
        )
        for check in found["text"]:
            console.say(text_line(TextCheck.model_validate(check)))


@app.command()
def inspect(
    artifact: Artifact,
    graph: Annotated[bool, typer.Option("--graph/--no-graph", help="Show the graph.")] = True,
    explain: Annotated[str | None, typer.Option(help="What a step or pattern did.")] = None,
    as_json: Json = False,
) -> None:
    """Show what an artifact is: sizes, functions, state, graph, receipts, certificate."""
    from smelt.inspecting import explain as explained
    from smelt.inspecting import overview, read_report
    from smelt.opening import read

    with console.reported(as_json=as_json):
        manifest, _ = read(artifact)
        report = read_report(artifact)
        if as_json:
            console.print_json({"manifest": manifest.model_dump(mode="json"), **report})
            return
        if explain is not None:
            console.write(explained(report, explain))
            return
        console.write(overview(manifest, _size(artifact)))
        if report.get("steps"):
            console.write("\npasses\n" + explained(report, None))
        if graph and report.get("graph"):
            console.write("\n" + report["graph"])


@listed.callback()
def specs(
    context: typer.Context,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="As the page docs/models.md.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the architectures that smelt knows: tasks, state, targets, and what is proven."""
    from smelt import listing

    if context.invoked_subcommand is not None:
        return
    with console.reported(as_json=as_json):
        found = listing.known_specs()
        if markdown:
            console.write(listing.markdown())
            return
        if as_json:
            console.print_json([spec.as_dict() for spec in found])
            return
        rows = [
            [s.name, s.level, ", ".join(s.tasks), ", ".join(s.caches), s.reach, s.title]
            for s in found
        ]
        console.table("", ["type", "proven", "tasks", "state", "targets", ""], rows)


@listed.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A spec.")],
    model_type: Annotated[
        str | None, typer.Option("--type", help="Whose rows, if not the file name's.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A tiny config.json, where the tests have no rows.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A directory of real weights.")] = None,
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    word: Annotated[str | None, typer.Option("-k", help="Only rows named so.")] = None,
) -> None:
    """Compare a spec with transformers, and name the first layer that differs. In a clone only."""
    from smelt.checking import check_spec

    with console.reported(as_json=False):
        options = {"type": model_type, "config": config, "checkpoint": checkpoint}
        code = check_spec(file, **options, task=task, word=word)
    raise typer.Exit(code)


@app.callback(invoke_without_command=True)
def main_options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        console.write(f"smelt {smelt.__version__}\n")
        raise typer.Exit


def main() -> None:
    """The `smelt` command."""
    app()


def _given(**options: Any) -> dict[str, Any]:
    """Options that were given: what is left out is the artifact's to decide."""
    return {name: value for name, value in options.items() if value is not None}


def _budget(text: str | None) -> dict[str, int]:
    """``--max-memory`` as an option of open and plan."""
    from smelt.planning import parse_size

    return {} if text is None else {"max_memory": parse_size(text)}


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    if not path.exists():
        raise ArtifactError("no such artifact", place=str(path))
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


if __name__ == "__main__":
    main()
