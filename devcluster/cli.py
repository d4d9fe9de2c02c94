"""Command line of devcluster. Progress goes to standard error, answers (paths, names) to standard output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from devcluster.driver import SimulatedNodes
from devcluster.drivers import DRIVERS, find, up
from devcluster.errors import DevclusterError
from devcluster.gotools import ensure_tools, tool_names
from devcluster.progress import Progress


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="devcluster", description="A real Kubernetes cluster for development.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--name", default="demo", help="name of the cluster (default: demo)")
        return added

    up_parser = command("up", "Make the cluster, or keep it where it runs.")
    up_parser.add_argument("--driver", choices=DRIVERS, default="auto", help="how to make it (default: auto)")
    up_parser.add_argument("--context", help="kubeconfig context of an existing cluster")
    up_parser.add_argument("--control-plane-only", action="store_true", help="API server and controllers, no node")
    up_parser.add_argument("--nodes-simulated", type=int, default=0, metavar="N", help="add N simulated GPU nodes")
    command("down", "Remove the cluster and everything made for it.")
    command("status", "Say whether the cluster is healthy; exit code 1 where it is not.")
    load = command("load", "Load image archives, or images of the local storage, into the cluster.")
    load.add_argument("image", nargs="+", help="a docker-archive file or the name of a local image")
    command("kubeconfig", "Print the path of the kubeconfig.")
    tools = commands.add_parser("tools", help="Build programs where the cache lacks them and print their paths.")
    tools.add_argument("tool", nargs="+", choices=tool_names(), metavar="TOOL", help=", ".join(tool_names()))
    return parser


def _up(arguments: argparse.Namespace, progress: Progress) -> None:
    cluster = up(
        arguments.name,
        driver=arguments.driver,
        context=arguments.context,
        control_plane_only=arguments.control_plane_only,
        progress=progress,
    )
    if arguments.nodes_simulated:
        nodes = SimulatedNodes(arguments.nodes_simulated, tainted=not arguments.control_plane_only)
        cluster.add_simulated_nodes(nodes)
    progress.say(f"ready: export KUBECONFIG={cluster.kubeconfig}")


def _status(arguments: argparse.Namespace, progress: Progress) -> int:
    status = find(arguments.name, progress).status()
    print(f"{status.name} ({status.driver}): {'running' if status.running else 'not running'}")
    for problem in status.problems:
        print(f"  problem: {problem}")
    return 0 if status.healthy else 1


def run_command(arguments: argparse.Namespace, progress: Progress) -> int:
    """Carry out one parsed command and return the exit code."""
    match arguments.command:
        case "up":
            _up(arguments, progress)
        case "down":
            with progress.step(f"removing the cluster '{arguments.name}'"):
                find(arguments.name, progress).down()
        case "status":
            return _status(arguments, progress)
        case "load":
            cluster = find(arguments.name, progress)
            for image in arguments.image:
                for name in cluster.load_image(image) or [f"{image} (there already)"]:
                    print(name)
        case "kubeconfig":
            print(find(arguments.name, progress).kubeconfig)
        case "tools":
            for path in ensure_tools(arguments.tool, progress).values():
                print(path)
    return 0


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: exits with 0, with 1 and one sentence on standard error, or with 130 after Ctrl-C."""
    try:
        sys.exit(run_command(_parser().parse_args(argv), Progress()))
    except DevclusterError as error:
        sys.exit(f"devcluster: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
