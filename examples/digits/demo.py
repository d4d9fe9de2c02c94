"""The main job, for real: a trained model, one ``kubectl apply``, served answers, and a new version under load."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import yaml

from devcluster.errors import DevclusterError
from devcluster.progress import Progress
from examples.digits.client import PROTOCOLS, Sender, digits, predict
from examples.digits.installation import Platform, reach, samples, start, wait_ready
from examples.digits.publish import bundles, push

CLUSTER = "demo"
NAMESPACE = "demo"
MODEL = "digits"
PORTS = {"HTTP": 8000, "gRPC": 8001}
SHOWN = 10


def main() -> int:
    """Run the demo; 0 when every request was answered."""
    progress = Progress()
    begun = time.monotonic()
    try:
        with ThreadPoolExecutor(max_workers=1) as side:
            trained = side.submit(bundles, progress)
            platform = start(CLUSTER, progress)
            applied = apply_store(platform, progress)
            paths = trained.result()
        publish(platform, progress, list(paths.values()))
        serve(platform, progress, applied)
        failed = show(platform, progress)
    except DevclusterError as error:
        print(f"\nThe demo stopped: {error}\nRun `make demo` again; it goes on from what is there.", file=sys.stderr)
        return 1
    finish(platform, time.monotonic() - begun)
    return 1 if failed else 0


def apply_store(platform: Platform, progress: Progress) -> str:
    """Apply everything but the model, and wait for the store; returns the model's manifest."""
    documents = list(yaml.safe_load_all(samples(platform)))
    models = [d for d in documents if d["kind"] == "ModelDeployment"]
    with progress.step("artifact store"):
        platform.kubectl.apply(yaml.safe_dump_all([d for d in documents if d not in models]))
        wait_store(platform)
    return yaml.safe_dump_all(models)


def publish(platform: Platform, progress: Progress, paths: list[Path]) -> None:
    """Push the bundles; a development store that holds others under these versions is emptied first."""
    try:
        push_all(platform, progress, paths)
    except DevclusterError as error:
        if "VersionConflict" not in str(error):
            raise
        with progress.step("emptying the development store: it holds bundles of other sources"):
            platform.kubectl("-n", NAMESPACE, "rollout", "restart", "deployment/store")
            wait_store(platform)
        push_all(platform, progress, paths)


def push_all(platform: Platform, progress: Progress, paths: list[Path]) -> None:
    """Push every bundle."""
    with reach(platform, NAMESPACE, "store", 7070) as store:
        for path in paths:
            progress.say("published " + " ".join(push(path, "s3://models", store).split()))


def wait_store(platform: Platform) -> None:
    """Wait until the store of this rollout answers."""
    platform.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/store", "--timeout=120s", timeout=130)


def serve(platform: Platform, progress: Progress, manifest: str) -> None:
    """Apply the model as a new one, and wait until it serves."""
    platform.kubectl(
        "-n", NAMESPACE, "delete", "md", MODEL, "--ignore-not-found", "--wait", "--timeout=60s", timeout=70
    )
    with progress.step("kubectl apply -f manifests/samples/digits.yaml; kubectl wait --for=condition=Ready md/digits"):
        platform.kubectl.apply(manifest)
        wait_ready(platform, NAMESPACE, MODEL, seconds=240, tell=lambda said: progress.say(f"  {said}"))
    print(platform.kubectl("-n", NAMESPACE, "get", "md"), flush=True)


def show(platform: Platform, progress: Progress) -> int:
    """Ask the model, then change its version while a client keeps sending; returns the failed requests."""
    with ExitStack() as stack:
        addresses = {p: stack.enter_context(reach(platform, NAMESPACE, MODEL, port)) for p, port in PORTS.items()}
        for protocol, address in addresses.items():
            ask(protocol, address)
        with Sender(addresses) as sender:
            edit(platform, progress, sender)
    right = sum(sender.right.values()) / max(sum(sender.answered.values()), 1)
    print(f"\nrequests sent during the rollout: {sender.sent}   failed: {len(sender.failures)}   right: {right:.1%}")
    for failure in sender.failures[:5]:
        print(f"  {failure}")
    return len(sender.failures)


def ask(protocol: str, address: str) -> None:
    """Send some digits and print the answers against the labels."""
    images, labels = digits()
    client = PROTOCOLS[protocol].InferenceServerClient(address)
    found = predict(protocol, client, images[:SHOWN])
    print(f"{protocol:5} predictions {found}")
    print(f"{'':5} labels      {[int(label) for label in labels[:SHOWN]]}", flush=True)


def edit(platform: Platform, progress: Progress, sender: Sender) -> None:
    """Change the one line, and tell how the second version takes over."""
    patch = '{"spec": {"model": {"uri": "s3://models/digits:2"}}}'
    progress.say("edit of one line: spec.model.uri: s3://models/digits:2")
    platform.kubectl("-n", NAMESPACE, "patch", "md", MODEL, "--type=merge", "-p", patch)

    def tell(said: str) -> None:
        progress.say(f"  {said} [sent {sender.sent}, failed {len(sender.failures)}]")

    wait_ready(platform, NAMESPACE, MODEL, seconds=300, tell=tell)
    progress.say(f"  version 2 has all requests [sent {sender.sent}, failed {len(sender.failures)}]")
    print(platform.kubectl("-n", NAMESPACE, "get", "md"), flush=True)


def finish(platform: Platform, seconds: float) -> None:
    """Say what to look at next."""
    print(
        f"""
Done in {seconds:.0f} s. The cluster stays up. Look around:

  export KUBECONFIG={platform.cluster.kubeconfig}
  kubectl -n {NAMESPACE} get md                            # or: describe md {MODEL}, get events
  kubectl -n {NAMESPACE} get pods,svc
  kubectl -n {NAMESPACE} port-forward svc/{MODEL} 8000 8001   # HTTP and gRPC for your own client
  curl -s localhost:8000/v2/models/{MODEL}                 # while the forward runs

make down removes everything."""
    )


if __name__ == "__main__":
    sys.exit(main())
