"""What goes wrong is named in one sentence, harms no live traffic, and heals without help once its cause is gone."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import e2e_models
import pytest
from e2e_asker import Asker
from e2e_models import Bundle
from e2e_signing import Signer, asking_for, signer
from e2e_world import STORE_NAMESPACE, Space, World, ask

from devcluster.errors import DevclusterError

NOBODY = "sha256:" + "0" * 64
PORT = 7070
KEYS = "signing"


@dataclass
class Story:
    """One model that serves, and to whose change things happen; one after another."""

    space: Space
    model: str
    folder: Path
    before: dict[str, Any] = field(default_factory=dict)
    """Its spec as it served last."""

    @property
    def world(self) -> World:
        return self.space.world

    def bundle(self, version: str) -> Bundle:
        """A bundle of the adder that is in the store."""
        return self.world.bundles[f"adder:{version}"]

    def patch(self, **spec: Any) -> None:
        """Edit the model's spec."""
        self.space.patch(self.model, spec)

    def put_back(self) -> None:
        """Undo the edit."""
        text = json.dumps([{"op": "replace", "path": "/spec", "value": self.before}])
        self.space.kubectl("patch", "md", self.model, "--type=json", "-p", text)

    def uri(self, version: str) -> str:
        """Address of a version of the adder that may not exist."""
        return f"{e2e_models.ROOT_URI}/adder:{version}"

    def roll_out(self, version: str) -> None:
        """Ask for a version that may not exist."""
        self.patch(model={"uri": self.uri(version), "digest": None})

    def publish(self, version: str, offset: float) -> Bundle:
        """A new version of the adder, published."""
        bundle = e2e_models.make(self.folder, "adder", version, offset)
        self.world.store.push(bundle)
        return bundle

    def open_store(self, *, up: bool) -> None:
        """A way to the store of this model's own, which can be cut off."""
        name = f"store-{self.model}"
        if not up:
            self.space.kubectl("delete", "endpointslice", name, "--ignore-not-found")
            return
        pods = self.world.api.request("GET", f"/api/v1/namespaces/{STORE_NAMESPACE}/pods")["items"]
        self.space.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "ports": [{"name": "s3", "port": PORT, "protocol": "TCP"}],
                "endpoints": [{"addresses": [pods[0]["status"]["podIP"]], "conditions": {"ready": True}}],
            }
        )

    def own_way(self) -> dict[str, str]:
        """The Service of :meth:`open_store` and a Secret that names it; returns the reference for spec."""
        name = f"store-{self.model}"
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"ports": [{"name": "s3", "port": PORT}]},
        }
        self.space.apply(service, self.world.store_secret(name, f"http://{name}.{self.space.name}.svc:{PORT}"))
        return {"name": name}

    def signer(self, name: str) -> Signer:
        """The key pair of this name."""
        return signer(self.folder, name)


Act = Callable[[Story], None]


def store_down(story: Story) -> None:
    story.open_store(up=False)
    story.roll_out("2")


def store_down_on_scaling(story: Story) -> None:
    story.open_store(up=False)
    story.patch(replicas=2)


def wrong_endpoint(story: Story) -> None:
    story.space.apply(story.world.store_secret("elsewhere", "http://nowhere.invalid:7070"))
    story.patch(model={"uri": story.bundle("3").uri, "credentialsSecretRef": {"name": "elsewhere"}})


def wrong_digest(story: Story) -> None:
    story.patch(model={"uri": story.bundle("2").uri, "digest": NOBODY})


def altered_file(story: Story) -> None:
    bundle = story.publish("altered", 31.0)
    model = bundle.folder / "models" / "adder" / "1" / "model.onnx"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    story.world.store.put(bundle.blob("model.onnx"), bytes(data))
    story.roll_out("altered")


def altered_manifest(story: Story) -> None:
    bundle = story.publish("forged", 32.0)
    forged = bundle.manifest.model_copy(update={"version": "other"})
    story.world.store.put(f"blobs/sha256/{bundle.digest.removeprefix('sha256:')}", forged.canonical_bytes())
    story.roll_out("forged")


def escaping_path(story: Story) -> None:
    manifest = json.loads(story.bundle("1").manifest.canonical_bytes())
    manifest["version"] = "escaping"
    manifest["files"][0]["path"] = "../../etc/passwd"
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    story.world.store.publish_manifest("adder", "escaping", text.encode())
    story.roll_out("escaping")


def no_model(story: Story) -> None:
    story.world.store.push(e2e_models.remake(story.bundle("1"), "garbage", e2e_models.garbage))
    story.roll_out("garbage")


def wrong_shape(story: Story) -> None:
    story.world.store.push(e2e_models.remake(story.bundle("1"), "shape", e2e_models.other_shape))
    story.roll_out("shape")


def not_signed(story: Story) -> None:
    bundle = story.publish("unsigned", 41.0)
    story.patch(model={"uri": bundle.uri}, verification=asking_for(KEYS, "trusted.pub"))


def signed_by_us(version: str) -> Act:
    return lambda story: story.world.store.sign(story.uri(version), story.signer("trusted").private)


def signed_by_a_stranger(story: Story) -> None:
    bundle = story.publish("stranger", 42.0)
    story.world.store.sign(bundle.uri, story.signer("stranger").private)
    story.roll_out("stranger")


def with_a_moved_signature(story: Story) -> None:
    """The signature of a stranger where the store keeps those by the trusted key."""
    bundle, store = story.publish("moved", 43.0), story.world.store
    store.sign(bundle.uri, story.signer("stranger").private)
    place = f"signatures/{bundle.digest.removeprefix('sha256:')}/{{}}.sig"
    store.put(place.format(story.signer("trusted").key_id), store.get(place.format(story.signer("stranger").key_id)))
    story.roll_out("moved")


def server(**changes: Any) -> Act:
    return lambda story: story.patch(server=changes)


@dataclass(frozen=True)
class Row:
    """A cause, what the user reads, and how the cause goes away.

    ``answer`` is what the model adds in the end; None for what it added before.
    """

    model: str
    """Rows of one model are played one after another, rows of different models side by side."""
    cause: Act
    reason: str
    words: tuple[str, ...]
    cure: Act = Story.put_back
    answer: float | None = None


SMALL: dict[str, Any] = {"cpu": "10m", "memory": "32Mi"}
ROWS = {
    "the store is down": Row(
        "stored", store_down, "FetchFailed", ("s3://models", "is up"), lambda story: story.open_store(up=True), 2.0
    ),
    "the store is down when another pod starts": Row(
        "stored",
        store_down_on_scaling,
        "FetchFailed",
        ("s3://models", "is up"),
        lambda story: story.open_store(up=True),
    ),
    "the store has another address": Row(
        "stored",
        wrong_endpoint,
        "FetchFailed",
        ("s3://models", "credentials"),
        lambda story: story.space.apply(story.world.store_secret("elsewhere")),
        3.0,
    ),
    "the version does not exist": Row(
        "published",
        lambda story: story.roll_out("9"),
        "ArtifactNotFound",
        ("no version 9 of adder", "Push this version"),
        lambda story: story.publish("9", 9.0) and None,
        9.0,
    ),
    "the digest is another one": Row(
        "published",
        wrong_digest,
        "DigestMismatch",
        (NOBODY, "was expected", "spec.model.digest"),
        lambda story: story.patch(model={"digest": story.bundle("2").digest}),
        2.0,
    ),
    "a file of the bundle was altered": Row("published", altered_file, "BundleInvalid", ("model.onnx", "altered")),
    "the manifest was altered": Row("published", altered_manifest, "DigestMismatch", ("was expected",)),
    "the manifest names a file outside": Row("published", escaping_path, "BundleInvalid", ("../../etc/passwd",)),
    "the bundle is not signed": Row(
        "signed",
        not_signed,
        "SignatureMissing",
        ("model-packager sign", "spec.verification"),
        signed_by_us("unsigned"),
        41.0,
    ),
    "the bundle is signed by a stranger alone": Row(
        "signed", signed_by_a_stranger, "SignatureMissing", ("spec.verification",)
    ),
    "the signature is not by the key that it is kept under": Row(
        "signed",
        with_a_moved_signature,
        "SignatureInvalid",
        ("Do not run", "spec.verification"),
        signed_by_us("moved"),
        43.0,
    ),
    "the public key is missing": Row(
        "signed",
        lambda story: story.patch(verification=asking_for("later", "trusted.pub")),
        "ContainerConfigInvalid",
        ('secret "later" not found', "spec.verification"),
        lambda story: story.space.apply(story.signer("trusted").secret("later", "trusted.pub")),
    ),
    "the file is no model": Row("loaded", no_model, "ModelLoadFailed", ("failed to load",)),
    "the model has another shape": Row("loaded", wrong_shape, "ModelLoadFailed", ("failed to load", "'x'")),
    "the image does not exist": Row(
        "placed", server(image="tidegate/triton-cpu:no-such-tag"), "ImagePullFailed", ("triton-cpu:no-such-tag",)
    ),
    "no node is large enough": Row(
        "placed",
        server(resources={"requests": {"cpu": "1000"}}),
        "Unschedulable",
        ("fits on no node", "Insufficient cpu", "spec.server.resources"),
    ),
    "the memory does not suffice": Row(
        "placed",
        server(resources={"requests": SMALL, "limits": {"memory": "32Mi"}}),
        "OutOfMemory",
        ("more memory than its limit", "spec.server.resources.limits.memory"),
    ),
}


def told(story: Story, row: Row) -> bool:
    """True once the condition says what the row wants."""
    ready = story.space.condition(story.model)
    return (
        ready.get("status") == "False"
        and ready["reason"] == row.reason
        and all(words in ready["message"] for words in row.words)
    )


def play(story: Story, row: Row) -> None:
    """From a version that serves, through the failure, to what the cure brings."""
    space, model = story.space, story.model
    if story.before:
        story.put_back()
    space.wait_ready(model, seconds=240)
    story.before = space.get(model)["spec"]
    was = ask(space.address(model), "adder", 0.0)[0]
    with Asker(space, model, "adder") as asker:
        row.cause(story)
        space.until(lambda: told(story, row), f"{model} says {row.reason} with {row.words}", seconds=180)
        during = len(asker.answers)
        space.until(lambda: len(asker.answers) >= during + 8, f"{model} answers during the failure", seconds=60)
        assert set(asker.answers) == {was}, "what served before alone answers while the change fails"
        assert space.condition(model, "Available")["status"] == "True"
        assert row.reason in [reason for reason, _ in space.events(model)]
        row.cure(story)
        space.wait_ready(model, seconds=240)
        cured = len(asker.answers)
        space.until(lambda: len(asker.answers) >= cured + 8, f"{model} answers after the cure", seconds=60)
    assert asker.failures == []
    assert set(asker.answers[cured + 1 :]) == {was if row.answer is None else row.answer}
    failure = space.status(model)["lastFailure"]
    assert failure["reason"] == row.reason
    story.before = space.get(model)["spec"]
    space.say(f"{row.reason}, {len(asker.answers)} requests, 0 failed: {failure['message'][:160]}")


@pytest.fixture(scope="module")
def stories(
    world: World, make_space: Callable[[str], Space], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """Several models behind one router, each with its rows: most of the time is waiting."""
    space, folder = make_space("failures"), tmp_path_factory.mktemp("failures")
    told_of = {row.model: Story(space, row.model, folder) for row in ROWS.values()}
    stored = told_of["stored"]
    way = {"uri": world.bundles["adder:1"].uri, "credentialsSecretRef": stored.own_way()}
    stored.open_store(up=True)
    space.apply(signer(folder, "trusted").secret(KEYS, "trusted.pub"))
    space.apply(
        *(
            space.manifest(model, world.bundles["adder:1"], **({"model": way} if model == "stored" else {}))
            for model in told_of
        )
    )
    with ExitStack() as stack:
        lanes = {model: stack.enter_context(ThreadPoolExecutor(1)) for model in told_of}
        yield {cause: lanes[row.model].submit(play, told_of[row.model], row) for cause, row in ROWS.items()}


def test_status_says_which_key_a_bundle_was_verified_with(world: World, stories: dict[str, Future[None]]) -> None:
    stories["the public key is missing"].result()
    artifact = Space(world, "e2e-failures").status("signed")["artifact"]
    assert artifact["verifiedBy"] == "later/trusted.pub"


@pytest.mark.parametrize("cause", ROWS)
def test_a_change_that_fails_is_explained_harms_nobody_and_heals(stories: dict[str, Future[None]], cause: str) -> None:
    stories[cause].result()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an address of no store": ({"model": {"uri": "http://models/adder:1"}}, "write s3://<bucket>"),
    "no version": ({"model": {"uri": "s3://models/adder"}}, "write s3://<bucket>"),
    "a negative number of pods": ({"replicas": -1}, "greater than or equal to 0"),
    "a misspelt field": ({"replica": 2}, "unknown field"),
    "steps out of order": (
        {"rollout": {"steps": [{"weight": 50, "hold": "1s"}, {"weight": 20, "hold": "1s"}]}},
        "weights must rise",
    ),
    "a hold without a unit": ({"rollout": {"steps": [{"weight": 50, "hold": "20"}]}}, "such as 90s, 2m or 1h30m"),
    "a flag of the operator": ({"server": {"args": ["--http-port=80"]}}, "the operator sets this flag itself"),
    "a strategy that does not exist": ({"rollout": {"strategy": "Magic"}}, "supported values"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_spec_that_cannot_work_is_refused_with_a_sentence(world: World, what: str) -> None:
    spec, words = REFUSED[what]
    manifest = Space(world, "default").manifest("refused", world.bundles["adder:1"], **spec)
    with pytest.raises(DevclusterError) as refused:
        world.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(manifest))
    assert words in str(refused.value)
