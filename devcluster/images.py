"""Build the project's images, each once a content: ``python -m devcluster.images build [NAME...]``.

An image's tag is the hash of all that goes into it, so an unchanged image is found in the cache and a changed one gets
a new name, which is what makes a cluster run it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from devcluster import imagebuild_cache as cache
from devcluster.errors import DevclusterError
from devcluster.imagebuild_engine import BuildahEngine, DockerEngine, Engine, Job
from devcluster.imagebuild_spec import IMAGES, REPOSITORY, ImageSpec, content_hash, context_files, select, stage_context
from devcluster.kind import docker_answers
from devcluster.process import file_lock
from devcluster.progress import Progress


@dataclass(frozen=True)
class ImageRef:
    """A built image: ``reference`` as pods name it (``tidegate/envoy:dev-...``), ``archive_path`` for clusters."""

    reference: str
    archive_path: Path


@dataclass(frozen=True)
class _Wanted:
    spec: ImageSpec
    digest: str
    files: dict[str, Path]

    @property
    def reference(self) -> str:
        return f"{self.spec.repository}:dev-{self.digest}"


def build(names: Iterable[str] = (), progress: Progress | None = None) -> dict[str, ImageRef]:
    """Return the named images (all where none is named), building those whose content the cache does not hold.

    Several processes may call this at once: one builds, the others wait and then find the result. Raises
    DevclusterError with the reason where an image cannot be built.
    """
    progress = progress or Progress()
    engine: Engine = DockerEngine(progress) if docker_answers() else BuildahEngine(progress)
    wanted = [_describe(spec, engine) for spec in select(names)]
    if any(_cached(image) is None for image in wanted):
        wanted = _build_missing([image.spec for image in wanted], engine, progress)
    return {image.spec.name: _require(image) for image in wanted}


def _describe(spec: ImageSpec, engine: Engine) -> _Wanted:
    files = context_files(REPOSITORY, spec)
    digest = content_hash(REPOSITORY / spec.dockerfile, files, outside=engine.identity(spec))
    return _Wanted(spec, digest, files)


def _cached(image: _Wanted) -> ImageRef | None:
    path = cache.find(cache.image_home(), image.spec.name, image.digest)
    return None if path is None else ImageRef(image.reference, path)


def _require(image: _Wanted) -> ImageRef:
    found = _cached(image)
    if found is None:
        raise DevclusterError(f"the archive of {image.reference} disappeared from {cache.image_home()}: build it again")
    return found


def _build_missing(specs: Sequence[ImageSpec], engine: Engine, progress: Progress) -> list[_Wanted]:
    home = cache.image_home()
    (home / "logs").mkdir(parents=True, exist_ok=True)
    with ExitStack() as lock:
        with progress.step("taking the lock of the image builder"):
            lock.enter_context(file_lock(home / "build.lock"))
        # Files may have changed, and another process may have built them, while this one waited for the lock.
        wanted = [_describe(spec, engine) for spec in specs]
        missing = [image for image in wanted if _cached(image) is None]
        if not missing:
            return wanted
        cache.remove_leftovers(home)
        engine.prepare()
        try:
            for image in missing:
                _build_one(image, engine, progress)
        finally:
            cache.remove_leftovers(home)
    return wanted


def _build_one(image: _Wanted, engine: Engine, progress: Progress) -> None:
    home = cache.image_home()
    name = image.spec.name
    begun = time.monotonic()
    progress.say(f"building {image.reference}")
    log = home / "logs" / f"{name}.log"
    log.write_text("")
    work = cache.work_folder(home, name)
    context = work / "context"
    stage_context({**image.files, image.spec.dockerfile: REPOSITORY / image.spec.dockerfile}, context)
    staged = {path: context / path for path in image.files}
    if content_hash(context / image.spec.dockerfile, staged, outside=engine.identity(image.spec)) != image.digest:
        raise DevclusterError(f"files of the image {name} changed while its build began: build it again")
    path = cache.archive_path(home, name, image.digest)
    with cache.publishing(path) as draft:
        engine.build(Job(image.spec, context, image.reference, draft, log))
    shutil.rmtree(work)
    cache.prune(home, name)
    megabytes = path.stat().st_size / 1e6
    progress.say(f"built {image.reference}: {megabytes:.0f} MB in {time.monotonic() - begun:.1f} s")


def _end_on_signal(signal_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; progress goes to standard error, the images to standard output."""
    parser = argparse.ArgumentParser(prog="python -m devcluster.images", description="Build the project's images.")
    command = parser.add_subparsers(dest="command", required=True).add_parser("build", help="build what has changed")
    command.add_argument("name", nargs="*", help=f"images to build (default: all of {', '.join(IMAGES)})")
    command.add_argument("--output", choices=("text", "json"), default="text", help="default: text")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _end_on_signal)
    try:
        images = build(options.name)
    except DevclusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if options.output == "json":
        answer = {name: {"reference": r.reference, "archive": str(r.archive_path)} for name, r in images.items()}
        print(json.dumps(answer, indent=2))
    else:
        for image in images.values():
            print(f"{image.reference}\t{image.archive_path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
