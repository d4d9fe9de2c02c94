"""The plain client of a store, timed: what a user would run without the packager, with nothing verified.

``plain_client.py file|s3|oci push|pull FOLDER PLACE`` prints the seconds that the transfer took. It runs in an
environment of its own with the clients that the field uses: boto3 for S3, oras for registries.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path


def _file(verb: str, folder: Path, place: str) -> None:
    shutil.copytree(*((folder, place) if verb == "push" else (place, folder)), dirs_exist_ok=True)


def _s3(verb: str, folder: Path, place: str) -> None:
    import boto3

    bucket, prefix = place.split("/", 1)
    client = boto3.client("s3")
    if verb == "push":
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder)}")
        return
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        for found in page["Contents"]:
            target = folder / found["Key"].removeprefix(f"{prefix}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, found["Key"], str(target))


def _oci(verb: str, folder: Path, place: str) -> None:
    import oras.client

    client = oras.client.OrasClient(insecure=True)
    if verb == "push":
        files = [str(p) for p in sorted(folder.rglob("*")) if p.is_file()]
        client.push(target=place, files=files, disable_path_validation=True)
    else:
        client.pull(target=place, outdir=str(folder))


def main(store: str, verb: str, folder: str, place: str) -> None:
    """Run one transfer and print its seconds; the imports of the clients are not counted."""
    client = {"file": _file, "s3": _s3, "oci": _oci}[store]
    if store == "s3":
        import boto3  # noqa: F401
    if store == "oci":
        import oras.client  # noqa: F401
    started = time.perf_counter()
    client(verb, Path(folder), place)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
