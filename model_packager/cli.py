"""``model-packager``: the command line. Results go to standard output, progress and errors to standard error.

Heavy modules are imported inside the commands: `--help` stays instant, and the commands that run in the cluster need
neither numpy nor a framework.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from model_packager import __version__
from model_packager.console import OutputFormat, Reporter
from model_packager.errors import InvalidUsage, PackagerError
from model_packager.tritonserver import Accelerator

EXIT_CODES = """Exit codes: 0 done; 1 refused: verification, signature, parity, contract or replay failed;
2 wrong usage; 3 not found in the store; 4 store or server not usable; 5 version already published as something else,
or alias moved meanwhile; 6 model cannot be exported; 7 a Python package or the server is missing;
130 and 143 interrupted."""

SOURCES = (
    "A .pt2, .skops, .keras, .ubj or .json (XGBoost), .txt (LightGBM) or .onnx file, "
    "package.module:function -> (nn.Module, samples), or a model of MLflow "
    "(models:/name/3, models:/name@alias, runs:/...)."
)

app = typer.Typer(
    name="model-packager",
    help="Turn a trained model into a verified, immutable bundle, and move bundles between stores.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Format = Annotated[OutputFormat, typer.Option("--output", help="Form of the result on standard output.")]
Termination = Annotated[
    Path | None, typer.Option(help="Also write the result or the failure, as JSON of at most 4096 bytes, to this file.")
]
Digest = Annotated[str | None, typer.Option(help="Require this digest (sha256:...).")]
BundleFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a bundle.")]
Signature = Annotated[
    Path | None, typer.Option(help="Signature file; DIR.sig beside a folder, and the store's for a URI, if not given.")
]
PublicKey = Annotated[
    Path | None,
    typer.Option(help="Public keys (PEM), one of which must have signed; else MODEL_PACKAGER_PUBLIC_KEY, as PEM text."),
]
ModelUri = Annotated[str, typer.Argument(metavar="URI", help="Such as s3://bucket/name:version or ...name@sha256:...")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"model-packager {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command(epilog=EXIT_CODES)
def export(
    source: Annotated[str, typer.Argument(help=SOURCES)],
    name: Annotated[str, typer.Option(help="Name of the model.")],
    version: Annotated[str, typer.Option(help="Version of the model, such as 3 or 1.2.0-rc1.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the bundle.")],
    sample: Annotated[Path | None, typer.Option(help="Inputs by name in an .npz file (numpy.savez).")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Typical inputs in an .npz file, 500 rows at least, to measure drift against.")
    ] = None,
    max_batch_size: Annotated[int, typer.Option(min=0, max=4096, help="Largest batch; 0 for no batching.")] = 32,
    target: Annotated[
        str | None, typer.Option(help="Server that must load it: triton:26.10 or onnxruntime:1.23.")
    ] = None,
    opset: Annotated[int | None, typer.Option(min=13, max=26, help="ONNX opset to convert to; 18 if free.")] = None,
    labels: Annotated[str | None, typer.Option(help="Names of the classes: a,b,c, or @FILE with one a line.")] = None,
    rename: Annotated[list[str] | None, typer.Option(help="OLD=NEW name of an input or output; repeatable.")] = None,
    rtol: Annotated[float | None, typer.Option(min=0, help="Relative tolerance of parity for float outputs.")] = None,
    atol: Annotated[float | None, typer.Option(min=0, help="Absolute tolerance of parity for float outputs.")] = None,
    instances: Annotated[int, typer.Option(min=1, max=64, help="Copies of the model that run side by side.")] = 1,
    threads: Annotated[
        int, typer.Option(min=1, max=256, help="CPU threads of one instance: the container's CPU limit / instances.")
    ] = 1,
    queue_delay_us: Annotated[int, typer.Option(min=0, help="Microseconds a request may wait for a batch.")] = 500,
    queue_timeout_ms: Annotated[int, typer.Option(min=1, help="Milliseconds in the queue before refusal.")] = 10_000,
    queue_size: Annotated[int, typer.Option(min=1, help="Requests in the queue before refusal.")] = 256,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load .pkl and .joblib, which RUNS CODE from the file.")
    ] = False,
    trust: Annotated[list[str] | None, typer.Option(help="Type in a .skops file to trust; repeatable.")] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Measure latency; the digest is then not reproducible.")
    ] = False,
    precision: Annotated[
        str | None, typer.Option(help="fp16 or int8 instead of the model's own; needs --sample.")
    ] = None,
    data_digest: Annotated[str | None, typer.Option(help="sha256:... of the training data, to record.")] = None,
    git_commit: Annotated[str | None, typer.Option(help="Commit to record in the provenance.")] = None,
    output: Format = OutputFormat.text,
) -> None:
    """Convert a model to ONNX, compare it with its source, and write a bundle."""
    given: dict[str, Any] = dict(locals())
    from model_packager.commands.export import run

    reporter = Reporter(given.pop("output"))
    serving = {
        key: given.pop(key) for key in ("instances", "threads", "queue_delay_us", "queue_timeout_ms", "queue_size")
    }
    run(reporter, **given | {"rename": rename or [], "trust": trust or [], "serving": serving})


@app.command(epilog=EXIT_CODES)
def push(
    folder: BundleFolder,
    root: Annotated[str, typer.Argument(metavar="ROOT_URI", help="Store, such as s3://bucket/prefix or file:///dir.")],
    signature: Annotated[
        Path | None, typer.Option(help="Signature to publish with it; DIR.sig beside the bundle if it exists.")
    ] = None,
    allow_breaking: Annotated[
        bool, typer.Option("--allow-breaking", help="Publish although a semantic version promises too much.")
    ] = False,
    output: Format = OutputFormat.text,
) -> None:
    """Verify a bundle and publish it as an immutable version."""
    from model_packager.commands import bundles

    bundles.push(folder, root, signature, Reporter(output), allow_breaking=allow_breaking)


@app.command(epilog=EXIT_CODES)
def pull(
    uri: ModelUri,
    to: Annotated[Path, typer.Option(help="New or empty folder; one that holds this bundle already is fine.")],
    digest: Digest = None,
    key: PublicKey = None,
    signature: Annotated[Path | None, typer.Option(help="Keep the signature in this file, beside the folder.")] = None,
    termination_log: Termination = None,
    output: Format = OutputFormat.text,
) -> None:
    """Fetch a bundle, verifying every byte, and place it whole or not at all."""
    from model_packager.commands import bundles

    bundles.pull(uri, to, digest, key, signature, termination_log, Reporter(output))


@app.command(epilog=EXIT_CODES)
def resolve(
    uri: ModelUri,
    digest: Digest = None,
    key: PublicKey = None,
    keep: Annotated[Path | None, typer.Option(help="Also write the manifest to this file.")] = None,
    termination_log: Termination = None,
    output: Format = OutputFormat.json,
) -> None:
    """Find what a URI means now, from the manifest alone."""
    from model_packager.commands import bundles

    bundles.resolve(uri, digest, key, keep, termination_log, Reporter(output))


@app.command(epilog=EXIT_CODES)
def verify(
    target: Annotated[str, typer.Argument(metavar="URI|DIR", help="A published model or a bundle folder.")],
    digest: Digest = None,
    key: PublicKey = None,
    signature: Signature = None,
    output: Format = OutputFormat.text,
) -> None:
    """Recompute every hash of a bundle and refuse whatever is not listed; of a published one nothing is kept."""
    from model_packager.commands import sign as signatures

    signatures.verify(target, digest, key, signature, Reporter(output))


@app.command(epilog=EXIT_CODES)
def sign(
    target: Annotated[str, typer.Argument(metavar="URI|DIR", help="A published model or a bundle folder.")],
    key: Annotated[Path, typer.Option(help="Private key on an elliptic curve, as PEM without a password.")],
    signature: Annotated[
        Path | None, typer.Option(help="Where to write that of a folder; DIR.sig beside it if not given.")
    ] = None,
    output: Format = OutputFormat.text,
) -> None:
    """Sign a bundle with OpenSSF model signing; the digest stays as it is."""
    from model_packager.commands import sign as signatures

    signatures.sign(target, key, signature, Reporter(output))


@app.command(epilog=EXIT_CODES)
def diff(
    old: Annotated[str, typer.Argument(metavar="A", help="URI or folder of the bundle that clients know.")],
    new: Annotated[str, typer.Argument(metavar="B", help="URI or folder of the bundle that may take its place.")],
    allow_breaking: Annotated[bool, typer.Option("--allow-breaking", help="End with 0 also if clients break.")] = False,
    answers: Annotated[bool, typer.Option(help="Run both on the golden inputs of A, fetched if needed.")] = True,
    output: Format = OutputFormat.text,
) -> None:
    """Compare two bundles: Compatible, Additive or Breaking, with sizes, latency and answers; 1 if Breaking."""
    from model_packager.commands import diff as comparing

    comparing.diff(old, new, Reporter(output), allow_breaking=allow_breaking, answers=answers)


@app.command(epilog=EXIT_CODES)
def contract(
    uri: ModelUri,
    successor: Annotated[Path, typer.Option(help="Manifest of the bundle that may take its place.")],
    digest: Digest = None,
    termination_log: Termination = None,
    output: Format = OutputFormat.json,
) -> None:
    """Tell a controller whether a bundle may take the place of a published one; 0 also if it may not."""
    from model_packager.commands import contract as judging

    judging.run(uri, successor, digest, termination_log, Reporter(output))


@app.command(epilog=EXIT_CODES)
def inspect(
    target: Annotated[str, typer.Argument(metavar="URI|DIR", help="A published model or a bundle folder.")],
    output: Format = OutputFormat.text,
) -> None:
    """Show the contract, the parity report and the origin of a bundle, without fetching its files."""
    from model_packager.commands import bundles

    bundles.inspect(target, Reporter(output))


@app.command(name="list", epilog=EXIT_CODES)
def list_models(
    root: Annotated[str, typer.Argument(metavar="ROOT_URI", help="Store, such as s3://bucket/prefix or file:///dir.")],
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this model.")] = None,
    output: Format = OutputFormat.text,
) -> None:
    """List the models of a store with their versions, digests, sizes and aliases."""
    from model_packager.commands import list as listing

    listing.run(root, name, Reporter(output))


@app.command(epilog=EXIT_CODES)
def alias(
    uri: ModelUri,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="Name such as prod; then NAME@prod is this bundle.")],
    output: Format = OutputFormat.text,
) -> None:
    """Let an alias mean a published bundle; unlike a version it can be moved again."""
    from model_packager.commands import alias as aliasing

    aliasing.run(uri, alias, Reporter(output))


@app.command(epilog=EXIT_CODES)
def replay(
    target: Annotated[str, typer.Argument(metavar="URI|DIR", help="A published model or a bundle folder.")],
    endpoint: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="HTTP address of the server.")] = None,
    grpc: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="gRPC address of the server.")] = None,
    model: Annotated[str | None, typer.Option(help="Name on the server, if it is not the bundle's.")] = None,
    output: Format = OutputFormat.text,
) -> None:
    """Ask a running server the golden cases of a bundle; 1 if an answer is outside its tolerance."""
    from model_packager.commands import replay as replaying

    replaying.run(target, endpoint, grpc, model, Reporter(output))


@app.command(epilog=EXIT_CODES)
def parity(
    uri: ModelUri,
    endpoint: Annotated[
        list[str], typer.Option(metavar="HOST:PORT", help="HTTP address of a server with the model; repeatable.")
    ],
    digest: Digest = None,
    timeout: Annotated[float, typer.Option(min=1, max=3600, help="Seconds for all cases on all servers.")] = 240,
    termination_log: Termination = None,
    output: Format = OutputFormat.json,
) -> None:
    """Replay the golden cases of a published bundle on every server: 1 if one answers otherwise, 4 if one does not."""
    from model_packager.commands import parity as checking

    checking.run(uri, digest, endpoint, timeout, termination_log, Reporter(output))


@app.command(epilog=EXIT_CODES)
def serve(
    target: Annotated[str, typer.Argument(metavar="URI|DIR", help="A published model or a bundle folder.")],
    http_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for HTTP.")] = 8000,
    grpc_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for gRPC.")] = 8001,
    metrics_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for metrics.")] = 8002,
    host: Annotated[str, typer.Option(help="IPv4 address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    image: Annotated[
        str | None, typer.Option(help="Image to run by docker, also if tritonserver is installed.")
    ] = None,
    accelerator: Annotated[Accelerator, typer.Option(help="Configuration to serve.")] = Accelerator.cpu,
    shm_size: Annotated[str, typer.Option(help="Shared memory of the container.")] = "1g",
    timeout: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds until the model must be ready.")] = 120,
    check: Annotated[
        bool, typer.Option("--check", help="Replay the golden cases over HTTP and gRPC, then end; 1 if one fails.")
    ] = False,
    output: Format = OutputFormat.text,
) -> None:
    """Serve a bundle on Triton: the tritonserver on PATH, else one in a container by docker."""
    from model_packager.commands.serve import ServeOptions, run
    from model_packager.tritonserver import Address

    address = Address(host=host, http=http_port, grpc=grpc_port, metrics=metrics_port)
    options = ServeOptions(
        address=address, image=image, accelerator=accelerator, shm_size=shm_size, timeout=timeout, check=check
    )
    run(target, options, Reporter(output))


class _Interrupted(BaseException):
    """A signal asked us to stop. Not a KeyboardInterrupt, which the command-line library would take for itself."""


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise _Interrupted(number)


def main() -> NoReturn:
    """Entry point: named failures become one sentence and their exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the first process of a container ignores what it does not handle
        signal.signal(number, _interrupt)
    try:
        app()
    except PackagerError as error:
        sys.exit(Reporter.fail(error))
    except _Interrupted as error:
        # Clean-up has run. A request may still hang in a thread, which an ordinary exit would wait for.
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(128 + error.args[0])
    except MemoryError:
        sys.exit(Reporter.fail(InvalidUsage("This input needs more memory than there is.")))
    except BrokenPipeError:
        # The reader of our output went away; nothing may be written any more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        sys.exit(Reporter.fail(InvalidUsage(f"{error.strerror or error}{where}.")))
    sys.exit(0)


if __name__ == "__main__":
    main()
