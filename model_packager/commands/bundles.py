"""Commands on finished bundles. They need only pydantic and a store client, because they run in the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model_packager import folder as folders
from model_packager import placing, termination, transfer
from model_packager.commands.describe import summary_lines
from model_packager.console import Reporter
from model_packager.manifest import Manifest, check_digest, parse_reference, parse_root
from model_packager.stores import Store, open_store


def push(folder: Path, root_uri: str, reporter: Reporter) -> None:
    """Publish, and print the URI and the digest to deploy."""
    root = parse_root(root_uri)
    store = open_store(root, create=True)
    reference = transfer.push(folder, root, store, reporter.transferred)
    digest = folders.read_manifest(folder).digest()
    fields = {"uri": str(reference), "digest": digest}
    if image := store.image_reference(reference.name, digest):
        fields["image"] = image
    reporter.result(fields, "\n".join(fields.values()))


def resolve(uri: str, digest: str | None, termination_log: Path | None, reporter: Reporter) -> None:
    """Read the manifest only and report what a controller needs."""
    with _reported(termination_log) as report:
        _, manifest = open_reference(uri, digest)
        report.update(termination.success(manifest))
    reporter.result(report, "\n".join(summary_lines(manifest)))


def pull(uri: str, to: Path, digest: str | None, termination_log: Path | None, reporter: Reporter) -> None:
    """Fetch by digest; a version is looked up only if no digest was given."""
    with _reported(termination_log) as report:
        store, manifest = open_reference(uri, digest, look_up=digest is None)
        fetched = placing.pull(manifest, store, to, reporter.transferred)
        report.update(termination.success(manifest))
    verdict = "fetched" if fetched else "already there"
    reporter.result({**report, "path": str(to), "fetched": fetched}, f"{to}: {verdict}, {manifest.digest()}")


def verify(folder: Path, digest: str | None, reporter: Reporter) -> None:
    """Recompute everything in a folder."""
    manifest = folders.verify_folder(folder, expected_digest=check_digest(digest) if digest else None)
    fields = {"digest": manifest.digest(), "name": manifest.name, "version": manifest.version, "verified": True}
    reporter.result(fields, f"{folder}: verified, {len(manifest.files)} files, {manifest.digest()}")


def inspect(target: str, reporter: Reporter) -> None:
    """Show a manifest, from a store or a folder."""
    manifest = open_reference(target, None)[1] if "://" in target else folders.read_manifest(Path(target))
    fields = {"digest": manifest.digest(), **manifest.model_dump(mode="json", by_alias=True, exclude_none=True)}
    reporter.result(fields, "\n".join(summary_lines(manifest)))


def open_reference(uri: str, digest: str | None, *, look_up: bool = True) -> tuple[Store, Manifest]:
    """The store and the verified manifest. Without ``look_up`` a version is not resolved: the digest decides."""
    reference = parse_reference(uri)
    wanted = check_digest(digest) if digest is not None else None
    store = open_store(reference.root)
    if wanted is None or look_up or reference.digest is not None:
        wanted = transfer.resolve(reference, store, digest=wanted)
    return store, transfer.read_manifest(reference, store, wanted)


@contextmanager
def _reported(termination_log: Path | None) -> Iterator[dict[str, Any]]:
    """Leave a success or a failure in the termination log, whatever happens in between."""
    report: dict[str, Any] = {}
    try:
        yield report
    except BaseException as error:
        if termination_log is not None:
            termination.write(termination_log, termination.failure(error))
        raise
    if termination_log is not None:
        termination.write(termination_log, report)
