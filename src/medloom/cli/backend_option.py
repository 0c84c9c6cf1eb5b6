"""``--backend``: the same command somewhere else.

What a back end does with a command is a command of its own, such as ``medloom sagemaker train``: ``BACKENDS`` of
``medloom.registry`` says which. ``--backend`` hands it the options that both have, and ``--on`` those that only it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medloom.cli.output import print_result
from medloom.errors import UserError
from medloom.registry import BACKENDS, check_name
from medloom.wording import nearest

if TYPE_CHECKING:
    pass

__all__ = ["BackendOption", "OnOption", "done_elsewhere", "given_options"]

HERE = "local"

BackendOption = Annotated[
    str, typer.Option("--backend", metavar="local|sagemaker", help="Where it is done; medloom names backends.")
]
OnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--on", metavar="KEY[=VALUE]", help="An option of the same command there: --on instance=ml.g5.xlarge --on spot."
    ),
]

_OURS = ("--backend", "--on", "--help")

_AS_SETTINGS = {"--profile": "train.profile", "--seeds": "train.seeds", "--price-per-hour": "tune.price_per_hour"}
"""Options that stand for a key of the recipe, which travels with it."""

_WORDS = {"--profile": "full"}

_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")


def done_elsewhere(
    context: typer.Context,
    backend: str,
    on: Sequence[str] | None,
    *,
    dry_run: bool,
    instead: Mapping[str, Sequence[str]] | None = None,
    behind: Sequence[str] = (),
) -> bool:
    """Do this command on another back end, if the user named one; return whether nothing is left to be done here.

    Args:
        context: Of this command: which options were given.
        backend: What ``--backend`` says.
        on: What ``--on`` says.
        dry_run: Whether only the request is printed.
        instead: Arguments for the other command in the place of those of a parameter of this one, by its name.
        behind: Options of this command that the other one takes behind ``--``, to do this one with them there.

    Raises:
        UserError: If there is no such back end, it has no such command, or an option has no meaning there.
    """
    check_name("back end", backend, BACKENDS)
    if backend != HERE:
        _do(context, str(context.info_name), backend, on or (), instead or {}, behind)
        return True
    if on:
        raise UserError(f"--on {on[0]}: says how another back end does it; name one: --backend sagemaker")
    if dry_run:
        _print_request(context, str(context.info_name))
    return dry_run


def given_options(context: typer.Context) -> list[str]:
    """Return the long names of the options that the user has given."""
    return [_long(param) for param in _given(context) if param.param_type_name == "option"]


def _print_request(context: typer.Context, verb: str) -> None:
    from medloom.backends import LocalBackend, Slot
    from medloom.jobs import Job

    words = [word for param in _given(context) if param.opts[0] != "--dry-run" for word in _words(context, param)]
    with LocalBackend([Slot(1)]) as backend:
        request = backend.request(Job(verb, (verb, *words)))
    print_result([request], json.dumps(request), as_json=True)


def _do(
    context: typer.Context,
    verb: str,
    backend: str,
    on: Sequence[str],
    instead: Mapping[str, Sequence[str]],
    behind: Sequence[str],
) -> None:
    from medloom.cli.main import command_of

    name = BACKENDS[backend].traits["commands"].get(verb)
    if name is None:
        raise UserError(f"medloom {verb} has no --backend {backend}")
    there = command_of(name)
    options = {_long(param): param for param in there.params if param.param_type_name == "option"}
    words, last = list[str](), list[str]()
    for param in _given(context):
        long = _long(param)
        if str(param.name) in instead:
            words += instead[str(param.name)]
        elif param.param_type_name == "argument" or long in options:
            words += _words(context, param)
        elif long in _AS_SETTINGS:
            words += ["--set", f"{_AS_SETTINGS[long]}={_WORDS.get(long, context.params[str(param.name)])}"]
        elif long in behind:
            last += _words(context, param)
        else:
            raise UserError(f"{long}: medloom {name}, which --backend {backend} stands for, has no such thing")
    own = {_long(param) for param in context.command.params}
    words += [word for text in on for word in _of_on(text, name, options, own)]
    with there.make_context(f"medloom {name}", [*words, *(["--", *last] if last else [])]) as inner:
        there.invoke(inner)


def _given(context: typer.Context) -> Iterator[Any]:
    """The parameters that the user has given, those that say where left out."""
    for param in context.command.params:
        source = context.get_parameter_source(str(param.name))
        typed = source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")
        if typed and _long(param) not in _OURS:
            yield param


def _long(param: Any) -> str:  # noqa: ANN401 - a parameter of the parser that Typer brings
    return next((one for one in param.opts if one.startswith("--")), str(param.opts[0]))


def _words(context: typer.Context, param: Any) -> list[str]:  # noqa: ANN401 - see above
    """A parameter as it would be written on a command line."""
    value = context.params[str(param.name)]
    values = [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]
    if param.param_type_name == "argument":
        return values
    if param.is_flag:
        return [_long(param) if value else str(param.secondary_opts[0])]
    return [f"{_long(param)}={one}" for one in values]


def _of_on(text: str, name: str, options: Mapping[str, Any], own: set[str]) -> list[str]:
    """What ``--on`` says, as an option of the command there."""
    key, equals, value = text.partition("=")
    long = f"--{key.strip().lstrip('-').replace('_', '-')}"
    if long not in options or long == "--help":
        keys = sorted(one.removeprefix("--") for one in options if one not in own)
        raise UserError(f"--on {key}: medloom {name} has no such option{nearest(key, keys)}; it has {', '.join(keys)}")
    if long in own:
        raise UserError(f"--on {key}: that is an option of this command itself: {long}")
    if not options[long].is_flag:
        if not equals:
            raise UserError(f"--on {key}: expected a value, such as --on {key}=VALUE")
        return [f"{long}={value.strip()}"]
    if equals and value.strip().lower() not in (*_YES, *_NO):
        raise UserError(f"--on {key}: expected true or false; got {value.strip()!r}")
    return [] if value.strip().lower() in _NO else [long]
