"""What every part of a spec is made of: frozen models, and unions in which `kind` decides the keys."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from nnopt.spec.nearest import closest, nearest

Item = TypeVar("Item")
# A YAML list held as a tuple, so that a spec cannot change under a run.
Items = Annotated[tuple[Item, ...], Field(strict=False)]

PLUGIN_GROUP = "nnopt.specs"
# Keys that say where or how often, but change no number of a run: not part of its hash.
NOT_IDENTITY: JsonDict = {"identity": False}


class Spec(BaseModel):
    """A frozen mapping of the spec file: unknown keys are refused with the nearest known name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    # Keys that one may look for here, each with the reason that there is none.
    refused: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_nearest_key(cls, value: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise _with_nearest_names(cls, error) from None


class KindSpec(Spec):
    """One member of a union: `kind` names it, the other keys are its own.

    `formula` and `source` (a paper, a page) are printed by `nnopt parts`; the docstring's first line is
    its description.
    """

    kind: str
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""

    @classmethod
    def kind_name(cls) -> str | None:
        """The name that selects this class in a spec, or None for a plug-in, which is named by its path."""
        annotation = cls.model_fields["kind"].annotation
        return str(get_args(annotation)[0]) if get_origin(annotation) is Literal else None


@dataclass(frozen=True, eq=False)
class Kinds:
    """A union of specs for one key: `Annotated[Base, Kinds("optimizer", Base, (A, B))]`.

    Besides its members it takes `package.module:SpecClass` and short names of the entry-point group
    `nnopt.specs`; both must give a subclass of `base`.
    """

    name: str
    base: type[KindSpec]
    members: tuple[type[KindSpec], ...]

    def named(self) -> dict[str, type[KindSpec]]:
        """The built-in members by name."""
        return {member.kind_name() or "": member for member in self.members}

    def find(self, kind: Any) -> type[KindSpec]:
        """The class that `kind` names.

        Raises:
            PydanticCustomError: nothing of this name, or a class that is no such part.
        """
        if not isinstance(kind, str):
            raise PydanticCustomError("kind", f"kind should be a name, not {kind!r}; {self._known()}")
        known = self.named()
        if kind in known:
            return known[kind]
        if ":" in kind:
            return self._imported(kind, lambda: _look_up(kind))
        for entry in importlib.metadata.entry_points(group=PLUGIN_GROUP, name=kind):
            return self._imported(kind, entry.load)
        raise PydanticCustomError("kind", f"no {self.name} is called '{kind}'{nearest(kind, known)}; {self._known()}")

    def _known(self) -> str:
        return f"known: {', '.join(self.named())}, or package.module:SpecClass"

    def _imported(self, kind: str, load: Callable[[], Any]) -> type[KindSpec]:
        try:
            found = load()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise PydanticCustomError("kind", f"cannot import {kind} ({reason}); is it on the Python path?") from error
        if not (isinstance(found, type) and issubclass(found, self.base)):
            base = f"{self.base.__module__}.{self.base.__name__}"
            raise PydanticCustomError("kind", f"{kind} is no {self.name}: it should be a subclass of {base}")
        if inspect.isabstract(found):
            missing = ", ".join(sorted(found.__abstractmethods__))
            raise PydanticCustomError("kind", f"{kind} is not whole: it does not define {missing}")
        if found.kind_name() not in (None, kind):
            own = f"'{found.kind_name()}'"
            advice = f"write kind: {own}" if found in self.members else "write `kind: str` in the class"
            raise PydanticCustomError("kind", f"{kind} takes no kind but {own}: {advice}")
        return found

    def _choose(self, value: Any, _members: Any) -> KindSpec:
        if isinstance(value, self.base):
            return value
        if not isinstance(value, dict):
            example = f"{{kind: {next(iter(self.named()))}, ...}}"
            raise PydanticCustomError("kind", f"should be a mapping such as {example}, not {show(value)}")
        if "kind" not in value:
            raise PydanticCustomError("kind", f"the key 'kind' is missing; {self._known()}")
        return self.find(value["kind"]).model_validate(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        members: Any = self.members[0] if len(self.members) == 1 else Union[self.members]  # noqa: UP007
        tagged = Annotated[members, Field(discriminator="kind")] if len(self.members) > 1 else members
        return core_schema.no_info_wrap_validator_function(
            self._choose,
            handler.generate_schema(tagged),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda part: part.model_dump()),
        )


def _look_up(path: str) -> Any:
    """What `package.module:Name` names."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def mistake_at(path: tuple[str | int, ...], message: str) -> PydanticCustomError:
    """An error of a check across keys, placed at the key to change (`path` from the model that checks)."""
    return PydanticCustomError("mistake", "{text}", {"text": message, "path": path})


def show(value: object) -> str:
    """A value as a message shows it: short, and with its type in plain words where that is the mistake."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, str):
        return f"the text '{_short(value)}'"
    return _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def _is_unknown_key(item: Mapping[str, Any]) -> bool:
    return bool(item["type"] == "extra_forbidden" and len(item["loc"]) == 1)


def _with_nearest_names(cls: type[Spec], error: ValidationError) -> ValidationError:
    """The same errors, those of unknown keys of `cls` itself in our words (the class is known only here)."""
    details: list[InitErrorDetails] = []
    items, fields = error.errors(include_url=False), list(cls.model_fields)
    # A required key that is missing because it is misspelt is one mistake, not two.
    meant = {(closest(item["loc"][0], fields),) for item in items if _is_unknown_key(item)}
    for item in items:
        location, kind, message = item["loc"], item["type"], item["msg"]
        if kind == "missing" and location in meant:
            continue
        if _is_unknown_key(item):
            of = f" of {cls.kind_name()}" if issubclass(cls, KindSpec) and cls.kind_name() else ""
            name = str(location[0])
            message = f"unknown key '{name}'{nearest(name, fields)}; the keys{of} are {', '.join(fields)}"
            if name in cls.refused:
                message = f"{of.removeprefix(' of ')}: {cls.refused[name]}" if of else cls.refused[name]
            kind = "unknown_key"
        details.append(
            InitErrorDetails(
                type=PydanticCustomError(kind, "{text}", {**item.get("ctx", {}), "text": message}),
                loc=location,
                input=item["input"],
            )
        )
    return ValidationError.from_exception_data(error.title, details)
