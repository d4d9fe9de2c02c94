"""``tidegate simulate``: decisions replayed over recorded or made-up traffic; each is loaded when it is named.

Simulations may need what the operator's image does not hold.
"""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

SIMULATIONS = {"rollout": "tidegate.simulation.rollout", "scaling": "tidegate.simulation.cli"}
"""Module of each simulation; its ``app`` is a typer with one command or several."""


class LazyGroup(TyperGroup):
    """Commands that are imported when somebody asks for them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all simulations."""
        return [*super().list_commands(ctx), *SIMULATIONS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The simulation, loaded now; None when there is none of this name."""
        if cmd_name in SIMULATIONS:
            return typer.main.get_command(_loaded(cmd_name))
        return super().get_command(ctx, cmd_name)


def _loaded(name: str) -> typer.Typer:
    """The simulation's app, or one that says what is missing: the operator's image has no numpy."""
    try:
        found: typer.Typer = import_module(SIMULATIONS[name]).app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tidegate"):
            raise
        return _missing(name, error.name)
    return found


def _missing(name: str, package: str) -> typer.Typer:
    sentence = f"tidegate simulate {name} needs {package}: pip install 'tidegate[simulate]'"
    stand_in = typer.Typer(add_completion=False)

    @stand_in.command(name, help=sentence, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def refuse(_: typer.Context) -> None:
        typer.echo(f"tidegate: {sentence}", err=True)
        raise typer.Exit(2)

    return stand_in


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, help="Replay decisions over recorded or made-up traffic.")


@app.callback()
def _simulate() -> None:
    """Replay decisions over recorded or made-up traffic."""
