"""A signature in the store is checked before any file is asked for, and a version becomes visible with it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError
from signing_keys import key_pair
from store_bundles import variant

from model_packager import cli
from model_packager.errors import FetchFailed, SignatureInvalid
from model_packager.folder import read_manifest, verify_folder
from model_packager.keys import MAX_KEYS, VARIABLE, read_keys
from model_packager.manifest import digest_of, parse_root
from model_packager.signing import MAX_SIGNATURE_BYTES, signature_path
from model_packager.stores import open_store
from model_packager.stores.objects import ObjectStore
from model_packager.stores.oci_signatures import (
    SIGNATURE_TYPE,
    parse_signature_manifest,
    signature_manifest,
    signature_tag,
)
from model_packager.termination import MAX_BYTES

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line: exit code, standard output, standard error."""

    def call(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["model-packager", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests of all blobs that were read from a store."""
    found: list[str] = []
    real = ObjectStore.read_blob

    def read(self: ObjectStore, digest: str, start: int, end: int) -> bytes:
        found.append(digest)
        return real(self, digest, start, end)

    monkeypatch.setattr(ObjectStore, "read_blob", read)
    return found


class World:
    """A published bundle ``small:1``, two key pairs, and where signatures are."""

    def __init__(self, folder: Path, bundle: Path, run: Run) -> None:
        self.folder, self.bundle, self.run = folder, bundle, run
        self.private, self.public = key_pair(folder, "key")
        self.other_private, self.other_public = key_pair(folder, "other")
        self.root = f"file://{folder}/store"
        self.uri = f"{self.root}/small:1"
        self.digest = read_manifest(bundle).digest()
        assert run("push", bundle, self.root)[0] == 0

    def place(self, key: Path | None = None) -> Path:
        """Where the signature by a key is kept."""
        name = f"{read_keys(key or self.public)[0].key_id}.sig"
        return self.folder / "store/signatures" / self.digest.removeprefix("sha256:") / name

    def sign(self, key: Path | None = None) -> None:
        assert self.run("sign", self.uri, "--key", key or self.private)[0] == 0

    def another_bundle(self) -> Path:
        return variant(self.bundle, self.folder / "second", "second", version="2")


@pytest.fixture
def world(bundle: Path, tmp_path: Path, run: Run) -> World:
    return World(tmp_path, bundle, run)


def test_a_published_bundle_is_signed_where_it_is(world: World, run: Run, tmp_path: Path) -> None:
    code, out, _ = run("sign", world.uri, "--key", world.private, "--output", "json")
    key_id = read_keys(world.public)[0].key_id
    assert code == 0
    assert json.loads(out) == {
        "digest": world.digest,
        "uri": f"{world.root}/small@{world.digest}",
        "signedBy": key_id,
    }
    assert world.place().is_file()
    code, out, _ = run("resolve", world.uri, "--key", world.public)
    assert (code, json.loads(out)["signedBy"]) == (0, key_id)
    assert run("pull", world.uri, "--to", tmp_path / "there", "--key", world.public)[0] == 0
    assert run("verify", world.uri, "--key", world.public)[0] == 0


def _moved_there(world: World) -> None:
    other = world.another_bundle()
    assert world.run("sign", other, "--key", world.private)[0] == 0
    world.place().parent.mkdir(parents=True)
    shutil.copy(signature_path(other), world.place())


def _named_as_ours(world: World) -> None:
    world.sign(world.other_private)
    world.place(world.other_public).rename(world.place())


def _claiming_our_key(world: World) -> None:
    world.sign(world.other_private)
    fields = json.loads(world.place(world.other_public).read_bytes())
    fields["verificationMaterial"]["publicKey"]["hint"] = read_keys(world.public)[0].key_id
    world.place().write_text(json.dumps(fields))


def _changed(change: Callable[[bytes], bytes]) -> Callable[[World], None]:
    def apply(world: World) -> None:
        world.sign()
        world.place().write_bytes(change(world.place().read_bytes()))

    return apply


def _forged(world: World) -> None:
    world.sign()
    fields = json.loads(world.place().read_bytes())
    fields["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(bytes.fromhex("3006020101020101")).decode()
    world.place().write_text(json.dumps(fields))


REFUSED: dict[str, tuple[Callable[[World], object], str, str]] = {
    "unsigned": (lambda world: None, "SignatureMissing", "model-packager sign file://"),
    "signed by another key": (lambda world: world.sign(world.other_private), "SignatureMissing", "no signature of"),
    "by another key under the name of ours": (_named_as_ours, "SignatureInvalid", "is by the key"),
    "by another key that says it is ours": (_claiming_our_key, "SignatureInvalid", "was not made by the key"),
    "the signature of another bundle": (_moved_there, "SignatureInvalid", "not of sha256:"),
    "truncated": (_changed(lambda data: data[:-20]), "SignatureInvalid", "is not a signature"),
    "empty": (_changed(lambda data: b""), "SignatureInvalid", "is not a signature"),
    "forged": (_forged, "SignatureInvalid", "was not made by the key"),
    "too large": (_changed(lambda data: data + b" " * MAX_SIGNATURE_BYTES), "SignatureInvalid", "more than 1048576"),
}  # fmt: skip


@pytest.mark.parametrize("command", ["resolve", "pull", "verify"])
@pytest.mark.parametrize("what", REFUSED)
def test_nothing_is_fetched_of_a_bundle_without_a_good_signature(
    world: World, fetched: list[str], run: Run, tmp_path: Path, what: str, command: str
) -> None:
    change, reason, words = REFUSED[what]
    change(world)
    fetched.clear()
    log, to = tmp_path / "log", tmp_path / "there"
    more = {"pull": ["--to", to, "--termination-log", log], "resolve": ["--termination-log", log], "verify": []}
    code, out, err = run(command, world.uri, "--key", world.public, *more[command])
    assert (code, out) == (1, "")
    assert f"error: {reason}: " in err
    assert words in err
    for named in (world.digest, read_keys(world.public)[0].key_id):
        assert named in err
    assert set(fetched) <= {world.digest}
    assert not to.exists()
    if command != "verify":
        assert json.loads(log.read_bytes())["reason"] == reason


def test_one_of_several_keys_is_enough_and_each_is_looked_for(world: World, run: Run, tmp_path: Path) -> None:
    both = tmp_path / "both.pub"
    both.write_bytes(world.public.read_bytes() + world.other_public.read_bytes())
    assert run("resolve", world.uri, "--key", both)[0] == 1
    world.sign(world.other_private)
    assert run("resolve", world.uri, "--key", both)[0] == 0
    world.place().write_bytes(b"rubbish")
    assert run("resolve", world.uri, "--key", both)[0] == 0, "a bad one beside a good one does no harm"


def test_the_variable_demands_what_the_option_demands(
    world: World, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, world.public.read_text())
    commands = (
        ("resolve", world.uri),
        ("pull", world.uri, "--to", tmp_path / "there"),
        ("verify", world.uri),
        ("verify", world.bundle),
    )
    for command in (*commands, ("diff", world.uri, world.bundle), ("serve", world.uri)):
        code, _, err = run(*command)
        assert (code, "SignatureMissing" in err) == (1, True), command
    for command in commands:
        code, _, err = run(*command, "--key", world.public)
        assert (code, "not both" in err) == (2, True), command
    assert not (tmp_path / "there").exists()
    world.sign()
    assert run("sign", world.bundle, "--key", world.private)[0] == 0
    for command in commands:
        assert run(*command)[0] == 0, command


@pytest.mark.parametrize("value", ["", "\n", "not a key"])
def test_a_variable_that_holds_no_key_stops_every_command(
    world: World, fetched: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    world.sign()
    fetched.clear()
    monkeypatch.setenv(VARIABLE, value)
    log, to = tmp_path / "log", tmp_path / "there"
    for command in (
        ("resolve", world.uri, "--termination-log", log),
        ("pull", world.uri, "--to", to, "--termination-log", log),
        ("verify", world.uri),
        ("verify", world.bundle),
    ):
        code, out, err = run(*command)
        assert (code, out) == (2, ""), command
        assert f"The variable {VARIABLE} holds no public key" in err
    report = json.loads(log.read_bytes())
    assert (report["reason"], VARIABLE in report["message"]) == ("PublicKeyInvalid", True)
    assert fetched == []
    assert not to.exists()


def test_a_version_is_published_with_the_signature_beside_its_folder(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = world.another_bundle()
    assert run("sign", other, "--key", world.private)[0] == 0
    order: list[str] = []
    for step in ("put_bundle", "put_signature", "create_pointer"):
        real = getattr(ObjectStore, step)
        monkeypatch.setattr(
            ObjectStore, step, lambda *given, _real=real, _step=step, **more: (order.append(_step), _real(*given))[1]
        )
    code, out, _ = run("push", other, world.root, "--output", "json")
    assert (code, json.loads(out)["signedBy"]) == (0, read_keys(world.public)[0].key_id)
    assert order == ["put_bundle", "put_signature", "create_pointer"]
    assert run("resolve", f"{world.root}/small:2", "--key", world.public)[0] == 0


def test_no_version_appears_when_its_signature_cannot_be_stored(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = world.another_bundle()
    assert run("sign", other, "--key", world.private)[0] == 0

    def failing(*given: object) -> None:
        raise FetchFailed("The store is down.")

    monkeypatch.setattr(ObjectStore, "put_signature", failing)
    assert run("push", other, world.root)[0] == 4
    assert not (world.folder / "store/models/small/2").exists()


def test_pushing_again_adds_a_signature_that_was_made_later(world: World, run: Run) -> None:
    assert run("sign", world.bundle, "--key", world.private, "--signature", world.folder / "later")[0] == 0
    assert run("push", world.bundle, world.root, "--signature", world.folder / "later")[0] == 0
    assert run("resolve", world.uri, "--key", world.public)[0] == 0


NOT_PUBLISHED: dict[str, tuple[Callable[[World, Path], object], str]] = {
    "of another bundle": (
        lambda world, other: world.run("sign", world.bundle, "--key", world.private, "--signature",
                                       signature_path(other)), "SignatureInvalid"),
    "no signature": (lambda world, other: signature_path(other).write_text("{}"), "SignatureInvalid"),
    "too large": (lambda world, other: signature_path(other).write_bytes(b" " * (2 << 20)), "SignatureInvalid"),
    "a folder": (lambda world, other: signature_path(other).mkdir(), "SignatureMissing"),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_PUBLISHED)
def test_a_bundle_with_a_wrong_signature_beside_it_is_not_published(world: World, run: Run, what: str) -> None:
    other = world.another_bundle()
    before = sorted((world.folder / "store").rglob("*"))
    make, reason = NOT_PUBLISHED[what]
    make(world, other)
    code, _, err = run("push", other, world.root)
    assert (code, reason in err) == (1, True)
    assert sorted((world.folder / "store").rglob("*")) == before


def test_a_signature_that_was_kept_verifies_the_folder_later(world: World, run: Run, tmp_path: Path) -> None:
    world.sign()
    to, kept = tmp_path / "there", tmp_path / "there.sig"
    assert run("pull", world.uri, "--to", to, "--key", world.public, "--signature", kept)[0] == 0
    assert kept.read_bytes() == world.place().read_bytes()
    assert run("verify", to, "--key", world.public)[0] == 0
    assert run("verify", world.uri, "--key", world.public, "--signature", kept)[0] == 0
    assert run("verify", to, "--key", world.other_public)[0] == 1


UNUSABLE: dict[str, Callable[[World], tuple[object, ...]]] = {
    "a signature to keep without a key": lambda world: ("pull", world.uri, "--to", "t", "--signature", "s"),
    "a signature kept in the bundle": lambda world: (
        "pull", world.uri, "--to", world.folder / "t", "--signature", world.folder / "t/s", "--key", world.public),
    "a signature to check without a key": lambda world: ("verify", world.bundle, "--signature", world.place()),
    "a published one to check without a key": lambda world: ("verify", world.uri, "--signature", world.place()),
    "a place for what the store keeps": lambda world: (
        "sign", world.uri, "--key", world.private, "--signature", "s"),
    "a public key to sign with": lambda world: ("sign", world.uri, "--key", world.public),
    "a private key to verify with": lambda world: ("resolve", world.uri, "--key", world.private),
    "a key that is absent": lambda world: ("resolve", world.uri, "--key", world.folder / "absent"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNUSABLE)
def test_options_that_make_no_sense_are_refused_in_one_sentence(
    world: World, fetched: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    world.sign()
    fetched.clear()
    code, out, err = run(*UNUSABLE[what](world))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(("error: InvalidUsage: ", "error: PublicKeyInvalid: "))
    assert set(fetched) <= {world.digest}
    assert not (tmp_path / "t").exists()


def test_every_file_of_a_published_bundle_is_verified_without_being_kept(
    world: World, fetched: list[str], run: Run, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    fetched.clear()
    assert run("verify", world.uri, "--digest", world.digest)[0] == 0
    files = read_manifest(world.bundle).files
    assert set(fetched) == {world.digest, *(f"sha256:{file.sha256}" for file in files if file.size)}
    assert sorted(tmp_path.rglob("*")) == before
    path = world.folder / "store/blobs/sha256" / files[-1].sha256
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    code, _, err = run("verify", world.uri)
    assert (code, "BundleInvalid" in err, files[-1].path in err) == (1, True, True)


BARE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"cryptography", "model_signing"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from model_packager.cli import main
main()
"""


def test_without_the_extra_a_demand_stops_and_a_signature_still_travels(world: World, tmp_path: Path) -> None:
    other = world.another_bundle()
    assert world.run("sign", other, "--key", world.private)[0] == 0

    def bare(*arguments: object) -> tuple[int, str]:
        command = [sys.executable, "-c", BARE, *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return result.returncode, result.stderr

    for command in (
        ("sign", world.uri, "--key", world.private),
        ("pull", world.uri, "--to", tmp_path / "there", "--key", world.public),
        ("verify", world.bundle, "--key", world.public),
    ):
        code, err = bare(*command)
        assert (code, "pip install 'tidegate[sign]'" in err, err.count("\n")) == (7, True, 1), command
    assert not (tmp_path / "there").exists()
    assert bare("push", other, world.root) == (0, "")
    assert world.run("resolve", f"{world.root}/small:2", "--key", world.public)[0] == 0
    assert verify_folder(other).version == "2"


def _layer(media_type: str = SIGNATURE_TYPE, digest: str = "sha256:" + "0" * 64, size: int = 9) -> bytes:
    return json.dumps({"layers": [{"mediaType": media_type, "digest": digest, "size": size}]}).encode()


NO_SIGNATURE_MANIFESTS = {
    "no JSON": b"{",
    "a list": b"[]",
    "nested too deeply": b"[" * 200_000,
    "no layers": b'{"layers":[]}',
    "two layers": b'{"layers":[{},{}]}',
    "a layer of an image": _layer(media_type="application/vnd.oci.image.layer.v1.tar"),
    "a digest that is a path": _layer(digest="../../x"),
    "no size": _layer(size=0),
}


@pytest.mark.parametrize("what", NO_SIGNATURE_MANIFESTS)
def test_a_tag_of_something_else_is_no_signature(what: str) -> None:
    with pytest.raises(SignatureInvalid, match="It is not a signature"):
        parse_signature_manifest(NO_SIGNATURE_MANIFESTS[what], "It")


def test_the_manifest_of_a_signature_is_fixed_and_its_tag_fits() -> None:
    manifest = signature_manifest(b"signature", "ab" * 32, b"image")
    assert manifest == signature_manifest(b"signature", "ab" * 32, b"image")
    assert parse_signature_manifest(manifest, "It") == (digest_of(b"signature"), 9)
    tag = signature_tag("sha256:" + "0" * 64, "ab" * 32)
    assert (len(tag) <= 128, tag.startswith("_sig.")) == (True, True)


@pytest.mark.parametrize("error", [PermissionError("no"), TimeoutError("late"), GenericError("odd\n\nDebug source: x")])
def test_a_store_that_fails_is_not_taken_for_an_unsigned_bundle(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    store = open_store(parse_root(world.root))

    def broken(*arguments: object, **options: object) -> None:
        raise error

    for name in ("get", "put"):
        monkeypatch.setattr(obstore, name, broken)
    calls: tuple[Callable[[], object], ...] = (
        lambda: store.read_signature("small", world.digest, "a" * 64, 10),
        lambda: store.put_signature("small", world.digest, "a" * 64, b""),
    )
    for call in calls:
        with pytest.raises(FetchFailed):
            call()


def test_the_report_for_a_controller_says_who_signed_and_still_fits(world: World, run: Run, tmp_path: Path) -> None:
    world.sign()
    both = tmp_path / "eight.pub"
    pems = [key_pair(tmp_path, f"n{number}")[1].read_text() for number in range(MAX_KEYS - 1)]
    log = tmp_path / "log"
    both.write_text("".join(pems))
    assert run("resolve", world.uri, "--key", both, "--termination-log", log)[0] == 1
    assert world.digest in json.loads(log.read_bytes())["message"]
    both.write_text("".join(pems) + world.public.read_text())
    assert run("resolve", world.uri, "--key", both, "--termination-log", log)[0] == 0
    assert json.loads(log.read_bytes())["signedBy"] == read_keys(world.public)[0].key_id
    assert log.stat().st_size <= MAX_BYTES
