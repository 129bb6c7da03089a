"""Forms: fields by the API's names, so that every complaint of the API appears at its field.

In: fields added one by one (or from a schema, `schema_form`).  Out: values as the API takes them; what is wrong is
shown at the field (or at the group of fields that it is about), the first one gets the focus, and what belongs to no field
stands above the buttons.
House rule: a form knows no rule of any entity; it asks and shows. Cold.
"""

import itertools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeGuard, TypeVar

from nicegui import ui
from nicegui.elements.mixins.validation_element import ValidationElement

from kongdp.controlplane.console.asking import RefusedError
from kongdp.controlplane.console.parts.complaint import Complaint
from kongdp.controlplane.console.visit import said

Read = Callable[[Any], Any]
# What shows its complaint itself.
Place: TypeAlias = ValidationElement[Any] | Complaint
Shown = TypeVar("Shown", bound=ui.element)


class FieldError(ValueError):
    """What was typed cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `read` makes the API's value of what was typed."""

    name: str
    element: Any
    read: Read


class Form:
    """The fields of one form and its error text."""

    def __init__(self) -> None:
        self.fields: dict[str, Field] = {}
        # Lists with a field for each text: their fields in the order of what is sent.
        self.lists: dict[str, Callable[[], Sequence[Any]]] = {}
        # Where complaints about a switch, or about a group of fields as a whole, are shown.
        self._places: dict[str, Complaint] = {}
        # Puts complaints elsewhere: where what the API calls by several names is one field here.
        self.moved: Callable[[dict[str, str]], dict[str, str]] = dict
        self.problem_element: ui.label | None = None

    # fields

    def text(
        self,
        name: str,
        label: str,
        value: str = "",
        *,
        hint: str = "",
        is_required: bool = False,
        is_long: bool = False,
    ) -> ui.input | ui.textarea:
        """A line of text, or several."""
        make = ui.textarea if is_long else ui.input
        element = make(label=label + (" *" if is_required else ""), value=value)
        return self._added(name, element, hint, lambda raw: str(raw or ""), is_required=is_required)

    def number(
        self, name: str, label: str, value: float | None = None, *, hint: str = "", is_integer: bool = True
    ) -> ui.input:
        """A number, None while empty."""
        shown = "" if value is None else str(value)
        element = ui.input(label=label, value=shown).props('inputmode="decimal"')
        return self._added(name, element, hint, _integer if is_integer else _decimal)

    def switch(self, name: str, label: str, value: bool = False) -> ui.switch:
        """Yes or no."""
        element = ui.switch(label, value=value)
        self.fields[name] = Field(name, element, bool)
        place = self._places[name] = Complaint(element)
        # As of any other field: with a change it is about something else.
        element.on_value_change(lambda: setattr(place, "error", None))
        return element

    def group(self, name: str, element: ui.element) -> None:
        """The place, right here, for complaints about all fields below a name."""
        self._places[name] = Complaint(element)

    def choice(
        self, name: str, label: str, choices: Sequence[Any] | Mapping[Any, str], value: Any = None, *, hint: str = ""
    ) -> ui.select:
        """One of several."""
        options = dict(choices) if isinstance(choices, Mapping) else list(choices)
        element = ui.select(options, label=label, value=value)
        return self._added(name, element, hint, lambda raw: raw)

    def choices(
        self, name: str, label: str, choices: Sequence[str], values: Sequence[str], *, hint: str = ""
    ) -> ui.select:
        """Some of several."""
        element = ui.select(list(choices), label=label, value=list(values), multiple=True)
        return self._added(name, element, hint, lambda raw: list(raw or ()))

    def lines(self, name: str, label: str, values: Sequence[Any] = (), *, hint: str = "One a line") -> ui.textarea:
        """A list of texts, one a line."""
        element = ui.textarea(label=label, value="\n".join(str(each) for each in values)).props("autogrow rows=2")
        return self._added(name, element, hint, split_lines)

    def custom(self, name: str, element: Any, read: Read) -> Any:
        """A field that was made elsewhere."""
        self.fields[name] = Field(name, element, read)
        return element

    def read_with(self, name: str, read: Read) -> None:
        """Read a field otherwise than its kind does."""
        self.fields[name] = replace(self.fields[name], read=read)

    def problem(self) -> None:
        """The place for complaints that belong to no field."""
        self.problem_element = ui.label("").classes("problem").props('role="alert"')
        self.problem_element.visible = False

    # asking

    def value(self, name: str) -> Any:
        """What a field holds. Raises FieldError."""
        field = self.fields[name]
        return field.read(getattr(field.element, "value", None))

    def values(self) -> dict[str, Any] | None:
        """What all fields hold by name; None when one cannot be read, which is shown."""
        self.clear()
        found: dict[str, Any] = {}
        wrong: dict[str, str] = {}
        for name in self.fields:
            try:
                found[name] = self.value(name)
            except FieldError as error:
                wrong[name] = str(error)
        if wrong:
            self.show(wrong)
            return None
        return found

    async def submit(self, call: Callable[[], Awaitable[Any]], *, below: str = "") -> bool:
        """Call the API; False when it refused, which is shown. `below`: a prefix of its field names to be dropped."""
        self.clear()
        try:
            await call()
        except RefusedError as error:
            if error.status == 401:
                raise
            self.refused(error, below=below)
            return False
        return True

    def refused(self, error: RefusedError, *, below: str = "") -> None:
        """Show the API's complaints."""
        prefix = f"{below}." if below else ""
        fields = {name.removeprefix(prefix): text for name, text in error.fields.items()}
        if not self.show(self.moved(fields)):
            self._tell(said(error))

    def show(self, problems: Mapping[str, str]) -> bool:
        """Put each complaint at its field; False when none has one."""
        elsewhere = []
        found: dict[Place, list[str]] = {}
        for name, text in problems.items():
            place, inside = self._nearest(name)
            if place is None:
                name = name.removesuffix("@entity").removesuffix(".")
                elsewhere.append(f"{name}: {text}" if name else text)
            else:
                found.setdefault(place, []).append(f"{inside}: {text}" if inside else text)
        for place, texts in found.items():
            place.error = "; ".join(texts)
            _unfold(place)
        if elsewhere:
            self._tell("; ".join(elsewhere))
        for place in found:
            place.lead_there() if isinstance(place, Complaint) else place.run_method("focus")
            break
        return bool(found or elsewhere)

    def clear(self) -> None:
        """Take complaints away."""
        elements = [field.element for field in self.fields.values()]
        for element in itertools.chain(elements, self._places.values(), *(fields() for fields in self.lists.values())):
            if _is_place(element):
                element.error = None
        if self.problem_element is not None:
            self.problem_element.visible = False

    def _tell(self, text: str) -> None:
        if self.problem_element is not None:
            self.problem_element.text = text
            self.problem_element.visible = True

    def _nearest(self, name: str) -> tuple[Place | None, str]:
        """The place of a dotted name, or of the longest part of it, and what the rest of the name is about: "paths[0]" is
        shown at "paths", as one about its first entry.
        """
        whole = name
        while name:
            list_name, _bracket, number = name.removesuffix("]").partition("[")
            if list_name in self.lists and (elements := self.lists[list_name]()):
                return elements[min(int(number), len(elements) - 1) if number.isdecimal() else 0], ""
            place = self._places.get(name) or (self.fields[name].element if name in self.fields else None)
            if _is_place(place):
                return place, _told(whole[len(name) :])
            name = name.rpartition("[")[0] if name.endswith("]") else name.rpartition(".")[0]
        return None, ""

    def _added(self, name: str, element: Shown, hint: str, read: Read, *, is_required: bool = False) -> Shown:
        element.props("outlined dense hide-bottom-space" if not hint else "outlined dense")
        if hint:
            element.props["hint"] = hint
        if is_required:
            element.props("aria-required=true")
        self.fields[name] = Field(name, element, read)
        return element


def _is_place(element: Any) -> TypeGuard[Place]:
    return isinstance(element, ValidationElement | Complaint)


def _unfold(element: ui.element) -> None:
    """Open what a field is folded away in."""
    for each in element.ancestors():
        if each.tag == "details":
            each.run_method("setAttribute", "open", "")


def _told(rest: str) -> str:
    """What is left of a name in words: "[0].x-a" -> "entry 1, x-a"; what is about a whole group needs none."""
    words = re.findall(r"\[(\d+)\]|([^.\[\]]+)", rest.removesuffix("@entity"))
    return ", ".join(f"entry {int(number) + 1}" if number else word for number, word in words)


def split_lines(raw: Any) -> list[str]:
    """The lines that are not empty."""
    return [line.strip() for line in str(raw or "").splitlines() if line.strip()]


def _integer(raw: Any) -> int | None:
    text = str(raw if raw is not None else "").strip()
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise FieldError("must be a whole number") from None


def _decimal(raw: Any) -> float | None:
    text = str(raw if raw is not None else "").strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise FieldError("must be a number") from None
