"""Commands on finished bundles. They need only pydantic and a store client, because they run in the cluster."""

from __future__ import annotations

from pathlib import Path

from model_packager import folder as folders
from model_packager import placing, signing, termination, transfer, versions
from model_packager.commands.describe import summary_lines
from model_packager.console import Reporter
from model_packager.errors import BundleInvalid, FetchFailed, InvalidUsage
from model_packager.keys import VARIABLE, demanded_keys
from model_packager.manifest import Manifest, check_digest, parse_reference, parse_root
from model_packager.stores import Store, open_store
from model_packager.uri import StoreRoot


def push(
    folder: Path, root_uri: str, signature: Path | None, reporter: Reporter, *, allow_breaking: bool = False
) -> None:
    """Publish, with the signature beside the folder if there is one; print the URI and the digest to deploy.

    Raises ContractBroken for a semantic version that promises too much, unless that is allowed.
    """
    root = parse_root(root_uri)
    beside = signature or signing.signature_path(folder)
    signed = signing.read_signature(beside) if signature or beside.exists() else None
    store = open_store(root, create=True)
    manifest = folders.read_manifest(folder)
    if not allow_breaking:
        _check_promise(manifest, root, store, reporter)
    with reporter.transferring("publishing", manifest.sizes) as progress:
        reference = transfer.push(folder, root, store, progress, signature=signed)
    digest = folders.read_manifest(folder).digest()
    fields = {"uri": str(reference), "digest": digest}
    if image := store.image_reference(reference.name, digest):
        fields["image"] = image
    lines = list(fields.values())
    if signed:
        fields["signedBy"] = signed.key_id
        lines.append(f"signed by {signed.key_id}")
    reporter.result(fields, "\n".join(lines))


def resolve(
    uri: str, digest: str | None, key: Path | None, keep: Path | None, termination_log: Path | None, reporter: Reporter
) -> None:
    """Read the manifest, and the signature if one is demanded, and report what a controller needs.

    ``keep`` is a file for the manifest, to be compared with another one.
    """
    with termination.reported(termination_log) as report:
        _, manifest, signed = open_signed(uri, digest, key)
        if keep is not None:
            keep.write_bytes(manifest.canonical_bytes())
        report.update(termination.success(manifest, signed))
    lines = summary_lines(manifest) + ([f"  signed by {signed.key_id}"] if signed else [])
    reporter.result(report, "\n".join(lines))


def pull(
    uri: str,
    to: Path,
    digest: str | None,
    key: Path | None,
    signature: Path | None,
    termination_log: Path | None,
    reporter: Reporter,
) -> None:
    """Fetch by digest; a version is looked up only if no digest was given. ``signature`` is where to keep it."""
    with termination.reported(termination_log) as report:
        if signature is not None:
            signing.check_beside(to, signature)
        store, manifest, signed = open_signed(uri, digest, key, look_up=digest is None)
        if signature is not None and signed is None:
            raise InvalidUsage(f"Which signature to keep is known by its key only; give --key or set {VARIABLE}.")
        with reporter.transferring("fetching", manifest.sizes) as progress:
            fetched = placing.pull(manifest, store, to, progress)
        if signature is not None and signed is not None:
            signature.write_bytes(signed.data)
        report.update(termination.success(manifest, signed))
    verdict = f"{'fetched' if fetched else 'already there'}{' and signed' if signed else ''}"
    reporter.result({**report, "path": str(to), "fetched": fetched}, f"{to}: {verdict}, {manifest.digest()}")


def inspect(target: str, reporter: Reporter) -> None:
    """Show a manifest, from a store or a folder."""
    manifest = open_reference(target, None)[1] if "://" in target else folders.read_manifest(Path(target))
    fields = {"digest": manifest.digest(), **manifest.model_dump(mode="json", by_alias=True, exclude_none=True)}
    reporter.result(fields, "\n".join(summary_lines(manifest)))


def open_signed(
    uri: str, digest: str | None, key: Path | None, *, look_up: bool = True
) -> tuple[Store, Manifest, signing.Signature | None]:
    """As :func:`open_reference`, with the signature that ``key`` or the environment demands; None if none does.

    Raises SignatureMissing and SignatureInvalid, before any file is asked for.
    """
    keys = demanded_keys(key)
    store, manifest = open_reference(uri, digest, look_up=look_up)
    if not keys:
        return store, manifest, None
    return store, manifest, transfer.read_signature(parse_reference(uri).root, manifest, store, keys)


def open_reference(uri: str, digest: str | None, *, look_up: bool = True) -> tuple[Store, Manifest]:
    """The store and the verified manifest. Without ``look_up`` a version is not resolved: the digest decides."""
    reference = parse_reference(uri)
    wanted = check_digest(digest) if digest is not None else None
    store = open_store(reference.root)
    if wanted is None or look_up or reference.digest is not None:
        wanted = transfer.resolve(reference, store, digest=wanted)
    return store, transfer.read_manifest(reference, store, wanted)


def _check_promise(manifest: Manifest, root: StoreRoot, store: Store, reporter: Reporter) -> None:
    """A publisher may be allowed to write and not to list; then the promise is not checked, and that is said."""
    try:
        versions.check_promise(manifest, root, store)
    except (FetchFailed, BundleInvalid) as error:
        reporter.say(f"note: what version {manifest.version} promises was not checked: {error}")
