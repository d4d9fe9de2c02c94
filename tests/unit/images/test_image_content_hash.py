"""Promises about when an image is built anew: when something that goes into it changes, and only then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from devcluster.errors import DevclusterError
from devcluster.imagebuild_spec import (
    IMAGES,
    REPOSITORY,
    ImageSpec,
    content_hash,
    context_files,
    copied_paths,
    select,
    stage_context,
)

SPEC = ImageSpec("app", "app/Dockerfile", ("BASE",), tools=("gateway",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "app" / "code" / "inner").mkdir(parents=True)
    (tmp_path / "app" / "Dockerfile").write_text(
        "ARG BASE\nFROM ${BASE} AS build\nCOPY lock.txt /build/\nCOPY --chown=1:1 app/code/ \\\n     /code/\n"
        "COPY gateway /bin/\nFROM ${BASE}\nCOPY --from=build /build /build\n"
    )
    (tmp_path / "app" / "code" / "main.py").write_text("print(1)\n")
    (tmp_path / "app" / "code" / "inner" / "part.py").write_text("print(2)\n")
    (tmp_path / "lock.txt").write_text("a==1\n")
    (tmp_path / "README.md").write_text("words\n")
    return tmp_path


def hash_of(root: Path, outside: tuple[str, ...] = ("base-1",)) -> str:
    return content_hash(root / SPEC.dockerfile, context_files(root, SPEC), outside=outside)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a copied file": lambda root: (root / "lock.txt").write_text("a==2\n"),
    "a file in a copied folder": lambda root: (root / "app/code/inner/part.py").write_text("print(3)\n"),
    "a new file in a copied folder": lambda root: (root / "app/code/new.py").write_text(""),
    "a file's name": lambda root: (root / "app/code/main.py").rename(root / "app/code/other.py"),
    "a file that is gone": lambda root: (root / "app/code/main.py").unlink(),
    "a file made executable": lambda root: (root / "app/code/main.py").chmod(0o755),
    "the Dockerfile": lambda root: (root / "app/Dockerfile").open("a").write("USER 1\n"),
    "the boundary between two files": lambda root: (
        (root / "app/code/main.py").write_text("print(1)\n#"),
        (root / "lock.txt").write_text("a==1"),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_an_image_gets_a_new_tag_when_something_that_goes_into_it_changes(
    root: Path, change: Callable[[Path], object]
) -> None:
    before = hash_of(root)
    change(root)
    assert hash_of(root) != before


NO_CHANGES: dict[str, Callable[[Path], object]] = {
    "a file that is not copied": lambda root: (root / "README.md").write_text("other words\n"),
    "a file beside the Dockerfile": lambda root: (root / "app/notes.txt").write_text("x"),
    "compiled Python": lambda root: (root / "app/code/main.pyc").write_text("x"),
    "a cache of Python": lambda root: (
        (root / "app/code/__pycache__").mkdir(),
        (root / "app/code/__pycache__/main.cpython-311.pyc").write_text("x"),
    ),
    "times and the umask": lambda root: (root / "lock.txt").touch() or (root / "lock.txt").chmod(0o640),
}


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES.keys())
def test_an_image_keeps_its_tag_when_nothing_that_goes_into_it_changes(
    root: Path, change: Callable[[Path], object]
) -> None:
    before = hash_of(root)
    change(root)
    assert hash_of(root) == before


def test_another_base_image_gives_another_tag(root: Path) -> None:
    assert hash_of(root, ("base-1",)) != hash_of(root, ("base-2",))


def test_the_build_sees_only_the_files_that_are_in_the_tag(root: Path, tmp_path: Path) -> None:
    (root / "lock.txt").chmod(0o600)
    context = tmp_path / "staged"
    stage_context(context_files(root, SPEC), context)
    staged = {path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file()}
    assert staged == {"lock.txt", "app/code/main.py", "app/code/inner/part.py"}
    assert (context / "lock.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ADD lock.txt /", "uses ADD"),
        ("COPY ${FILES} /", "write the path out"),
        ("COPY app/*.py /", "write the path out"),
    ],
)
def test_a_dockerfile_that_hides_its_inputs_is_refused(line: str, message: str) -> None:
    with pytest.raises(DevclusterError, match=message):
        copied_paths(f"FROM scratch\n{line}\n")


def test_a_copied_path_that_is_absent_is_named(root: Path) -> None:
    (root / "lock.txt").unlink()
    with pytest.raises(DevclusterError, match=r"app/Dockerfile copies lock\.txt, which is not in"):
        context_files(root, SPEC)


def test_an_unknown_image_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        DevclusterError, match=r"no image tritn; known are operator, packager, observer, triton-cpu, envoy, store"
    ):
        select(["envoy", "tritn"])


@pytest.mark.parametrize("spec", IMAGES.values(), ids=IMAGES.keys())
def test_the_dockerfile_of_every_image_copies_only_what_the_repository_has(spec: ImageSpec) -> None:
    files = context_files(REPOSITORY, spec)
    assert files
    text = (REPOSITORY / spec.dockerfile).read_text()
    assert all(f"ARG {argument}=" in text for argument in (*spec.base_arguments, *spec.tool_arguments))


@pytest.mark.parametrize("spec", IMAGES.values(), ids=IMAGES.keys())
def test_every_image_runs_as_a_numbered_user_and_its_last_stage_runs_no_command(spec: ImageSpec) -> None:
    last_stage = (REPOSITORY / spec.dockerfile).read_text().rpartition("\nFROM ")[2]
    user = "1000:1000" if spec.name == "triton-cpu" else "10001:10001"
    assert f"\nUSER {user}\n" in last_stage
    assert "\nRUN " not in last_stage, "what the build mounts for a RUN would stay in the image"
