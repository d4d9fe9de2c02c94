"""What a store holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial

from model_packager import transfer
from model_packager.console import Reporter
from model_packager.errors import ArtifactNotFound, BundleInvalid
from model_packager.manifest import ModelReference, StoreRoot, check_name, parse_root
from model_packager.stores import Store, open_store
from model_packager.stores.parallel import in_parallel


@dataclass(frozen=True, slots=True)
class Version:
    """One published version. ``problem`` says why a damaged one cannot be used, and then there is no size."""

    version: str
    digest: str | None
    size_bytes: int | None
    aliases: list[str]
    problem: str | None = None


def run(root_uri: str, name: str | None, reporter: Reporter) -> None:
    """List all models, or one. A damaged version is shown as such and does not hide the others."""
    root = parse_root(root_uri)
    store = open_store(root)
    models = {each: versions(root, store, each) for each in ([check_name(name)] if name else store.list_names())}
    if name and not models[name]:
        raise ArtifactNotFound(f"{root} has no version of {name}.")
    fields = [{"name": each, "versions": [_fields(version) for version in found]} for each, found in models.items()]
    lines = [_line(each, version) for each, found in models.items() for version in found]
    reporter.result({"root": str(root), "models": fields}, "\n".join(lines) or f"{root} has no models.")


def versions(root: StoreRoot, store: Store, name: str) -> list[Version]:
    """All versions of a model, sorted as text; their manifests are read, and verified, side by side."""
    found: dict[str, Version] = {}
    by_digest: dict[str, list[str]] = {}
    for alias in store.list_aliases(name):
        by_digest.setdefault(store.read_alias(name, alias) or "", []).append(alias)

    def look(version: str) -> None:
        digest = None
        try:
            digest = store.read_pointer(name, version)
            if digest is None:
                return  # removed since the list was made
            manifest = transfer.read_manifest(ModelReference(root, name, version=version), store, digest)
            found[version] = Version(version, digest, manifest.size_bytes, by_digest.get(digest, []))
        except (ArtifactNotFound, BundleInvalid) as error:
            found[version] = Version(version, digest, None, [], str(error))

    in_parallel(partial(look, version) for version in store.list_versions(name))
    return [found[version] for version in sorted(found)]


def _fields(version: Version) -> dict[str, object]:
    fields = asdict(version)
    fields["sizeBytes"] = fields.pop("size_bytes")
    return {key: value for key, value in fields.items() if value is not None}


def _line(name: str, version: Version) -> str:
    aliases = f"  @{', @'.join(version.aliases)}" if version.aliases else ""
    if version.problem:
        return f"{name}:{version.version}  {version.digest or 'no digest'}  damaged: {version.problem}"
    return f"{name}:{version.version}  {version.digest}  {version.size_bytes} bytes{aliases}"
