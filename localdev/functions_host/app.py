"""Finds an app's functions and checks them as the Python worker does before Azure runs any of them."""

import importlib
import inspect
import sys
import traceback
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure.functions as func

from localdev.functions_host.errors import HostError
from localdev.functions_host.retries import RetryPolicy, read_retry_policy

CONTEXT = "context"
TRIGGERS = ("queueTrigger", "timerTrigger", "httpTrigger")
# The package's own annotations leave out what these calls return.
_sdk: Any = func


@dataclass(frozen=True)
class AppFunction:
    """One function of the app, ready to be called with its trigger's value. returns: whether it answers over HTTP."""

    name: str
    call: Callable[..., Any]
    trigger: Any
    returns: bool
    retry: RetryPolicy

    @property
    def takes_context(self) -> bool:
        """Whether it is told of its own call, too."""
        return CONTEXT in inspect.signature(self.call).parameters

    @property
    def is_async(self) -> bool:
        """Whether it has to run in an event loop."""
        return inspect.iscoroutinefunction(self.call)


def load_functions(folder: Path) -> list[AppFunction]:
    """Imports function_app.py of the folder and indexes its functions; one bad function fails them all.

    That is what the worker does: an app with one error in it has no functions in Azure.
    """
    module = _import_app(folder)
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
    if not apps:
        raise HostError(f"{folder / 'function_app.py'} defines no FunctionApp: it needs app = func.FunctionApp().")
    if len(apps) > 1:
        raise HostError(
            f"{folder / 'function_app.py'} has more than one FunctionApp (or two names for one): "
            "the worker takes exactly one."
        )
    try:
        indexed = apps[0].get_functions()
    except ValueError as error:
        raise HostError(f"The app's functions can't be indexed: {error}") from error
    return [_checked(function) for function in indexed]


def _import_app(folder: Path) -> Any:
    path = folder / "function_app.py"
    if not path.is_file():
        raise HostError(f"There is no function_app.py in {folder}: give the app's folder with --app.")
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("function_app")
    except (Exception, SystemExit) as error:
        raise HostError(f"The app can't be loaded: {describe(error)}{_place(error, folder)}") from error


def describe(error: BaseException) -> str:
    """Puts an exception into words: its text, or its kind where it has none."""
    text = str(error).strip()
    known = isinstance(error, ImportError | SyntaxError | NameError | KeyError | AttributeError | TypeError)
    if not text:
        return type(error).__name__
    return f"{type(error).__name__}: {text}" if known else text


def _place(error: BaseException, folder: Path) -> str:
    """Says where in the app's own files the error came up, if anywhere."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    own = [frame for frame in inside if "site-packages" not in frame.filename]
    if not own:
        return ""
    return f" ({Path(own[-1].filename).relative_to(folder)}, line {own[-1].lineno})"


def _checked(function: Any) -> AppFunction:
    name = str(function.get_function_name())
    call = function.get_user_function()
    trigger = function.get_trigger()
    bindings = {binding.name: binding for binding in function.get_bindings()}
    _check_kinds(name, trigger, bindings.values())
    annotations = _annotations(name, call)
    returns = bindings.pop("$return", None) is not None
    _check_parameters(name, call, set(bindings))
    _check_context(name, annotations)
    _check_input(name, trigger, annotations)
    _check_returned(name, returns, annotations.get("return"))
    return AppFunction(
        name=name,
        call=call,
        trigger=trigger,
        returns=returns,
        retry=read_retry_policy(name, function.get_settings_dict("retry_policy")),
    )


def _check_kinds(name: str, trigger: Any, bindings: Iterable[Any]) -> None:
    if trigger.type not in TRIGGERS:
        raise HostError(f"{name} has a {trigger.type}; the local host runs {', '.join(TRIGGERS)}.")
    for binding in bindings:
        if binding is not trigger and (binding.name, binding.type) != ("$return", "http"):
            raise HostError(
                f"{name} has the binding {binding.name} of type {binding.type}; "
                "the local host knows no others than triggers and the answer over HTTP."
            )


def _annotations(name: str, call: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(call)
    except (NameError, TypeError) as error:
        raise HostError(f"{name} has an annotation that can't be read: {error}") from error


def _check_parameters(name: str, call: Callable[..., Any], bound: set[str]) -> None:
    parameters = set(inspect.signature(call).parameters) - {CONTEXT}
    if parameters - bound:
        raise HostError(f"{name} has parameters without a binding: {', '.join(sorted(parameters - bound))}.")
    if bound - parameters:
        raise HostError(f"{name} has bindings without a parameter: {', '.join(sorted(bound - parameters))}.")


def _check_context(name: str, annotations: dict[str, Any]) -> None:
    if annotations.get(CONTEXT, func.Context) is not func.Context:
        raise HostError(f"{name}: {CONTEXT} is annotated {annotations[CONTEXT]!r}; the worker takes func.Context.")


def _check_input(name: str, trigger: Any, annotations: dict[str, Any]) -> None:
    annotation = annotations.get(trigger.name)
    if annotation is None:
        return
    # The worker's check asks issubclass(), which a generic type does not survive.
    if not isinstance(annotation, type) or typing.get_origin(annotation) is not None:
        raise HostError(f"{name}: {trigger.name} is annotated {annotation!r}, which the worker refuses.")
    if not converter(trigger.type).check_input_type_annotation(annotation):
        raise HostError(
            f"{name}: {trigger.name} is annotated {annotation.__name__}, which the worker refuses "
            f"for a {trigger.type}; it takes the type from azure.functions."
        )


def _check_returned(name: str, returns: bool, annotation: Any) -> None:
    # The worker demands a plain class here: list[str], typing.List[str] and str | None are none.
    plain = isinstance(annotation, type) and typing.get_origin(annotation) is None
    if not returns or annotation is None or (plain and converter("http").check_output_type_annotation(annotation)):
        return
    raise HostError(f"{name} is annotated to return {annotation!r}, which the worker refuses.")


def converter(kind: str) -> Any:
    """Gives azure-functions' converter for a type of binding, such as `queueTrigger`."""
    return _sdk.get_binding_registry().get(kind)
