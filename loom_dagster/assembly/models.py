"""From what a user wrote of a model to the Model the gateway asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from loom_dagster.errors import Misconfigured
from loom_dagster.gateway.question import Model, Price, ProviderLimits, Timeouts
from loom_dagster.settings import OFFLINE_MODEL, ModelLimits, RunOptions, Settings
from loom_dagster.spec.models import FieldSpec, Pipeline, Transform

__all__ = ["Models"]

_TEXT_TOKENS = 2048  # for an answer that is one free text
_BASE_TOKENS = 256  # for an object: this and
_FIELD_TOKENS = 256  # this for each of its fields
_REASONING_TOKENS = 8192  # on top, for models that think before they answer
_JUDGE_TOKENS = 2048
_OFFLINE = "offline/"
_LIMITS = ("in_flight", "requests_per_minute", "tokens_per_minute")


class _Prices(Protocol):
    def provider(self, name: str) -> str | None: ...

    def max_output(self, name: str) -> int | None: ...

    def reasons(self, name: str) -> bool: ...


class Models:
    """The models of one pipeline: the transform's, its fallbacks, and the judges'.

    A model of the same provider as the transform's shares its ``api_base`` and key; another
    provider's does not, so that no key is sent where it does not belong.
    """

    def __init__(self, spec: Pipeline, settings: Settings, options: RunOptions, prices: _Prices) -> None:
        self._spec, self._settings, self._options, self._prices = spec, settings, options, prices
        self.main = self._main_name()

    def transform(self, fields: Mapping[str, FieldSpec] | None) -> Model:
        """The transform's model, with its fallbacks. ``fields`` of the output bound its length."""
        others = () if self._options.offline else self._spec.transform.fallbacks
        fallbacks = tuple(self._answering(name, fields) for name in others)
        model = self._answering(self.main, fields, fallbacks)
        return replace(model, batch=self._spec.transform.mode == "batch")

    def second(self, fields: Mapping[str, FieldSpec] | None) -> Model | None:
        """The model of ``load.fallback``, if there is one."""
        fallback = self._spec.load.fallback
        if fallback is None or fallback.model is None:
            return None
        return self._answering(OFFLINE_MODEL if self._options.offline else fallback.model, fields)

    def judge(self, own: str | None) -> Model:
        """An evaluator's model: its own, else ``evaluate.model``, else the transform's."""
        name = own or self._spec.evaluate.model or self.main
        if self._options.offline:
            name = self.main
        return self._model(name, tokens=_JUDGE_TOKENS, chosen=False, temperature=0.0)

    def _answering(
        self, name: str, fields: Mapping[str, FieldSpec] | None, fallbacks: tuple[Model, ...] = ()
    ) -> Model:
        wanted = self._spec.transform
        tokens = _TEXT_TOKENS if fields is None else _BASE_TOKENS + _FIELD_TOKENS * _leaves(fields)
        return self._model(
            name,
            tokens=wanted.max_tokens or tokens,
            chosen=wanted.max_tokens is not None,
            temperature=wanted.temperature,
            fallbacks=fallbacks,
        )

    def _main_name(self) -> str:
        if self._options.offline:
            return OFFLINE_MODEL
        transform = self._spec.transform
        name = self._options.model or transform.model or self._settings.model
        if name is None:
            raise Misconfigured(
                f"pipeline `{self._spec.name}` names no model and the project has none",
                fix="set transform.model, `model` in [tool.loom], or LOOM_MODEL (`offline/demo` needs no key)",
            )
        version = transform.model_version if self._options.model is None and transform.model else None
        return name if version is None or name.endswith(version) else f"{name}-{version}"

    def _model(
        self,
        name: str,
        *,
        tokens: int,
        chosen: bool,
        temperature: float | None,
        fallbacks: tuple[Model, ...] = (),
    ) -> Model:
        wanted = self._spec.transform
        own = name == self.main
        related = own or self._provider(name) == self._provider(self.main)
        if not chosen:
            tokens += _REASONING_TOKENS if self._prices.reasons(name) else 0
            tokens = min(tokens, self._prices.max_output(name) or tokens)
        return Model(
            name=name,
            temperature=temperature,
            max_tokens=tokens,
            extra=_extra(wanted) if own else {},
            api_base=(wanted.api_base or self._settings.api_base) if related else None,
            api_key_env=(wanted.api_key_env or self._settings.api_key_env) if related else None,
            timeouts=Timeouts(
                connect=wanted.timeout.connect, read=wanted.timeout.read, total=wanted.timeout.total
            ),
            max_attempts=wanted.max_attempts,
            **self._limits(name),
            structured=wanted.structured_output if related else None,
            price=self._price(name),
            on_too_long=wanted.on_too_long,
            fallbacks=fallbacks,
        )

    def _price(self, name: str) -> Price | None:
        """As declared: in the YAML for the model that it names, else in the project's settings."""
        if name.startswith(_OFFLINE):
            return None
        of_yaml = self._spec.transform.price if name == self.main and self._options.model is None else None
        declared = of_yaml or self._settings.prices.get(name)
        return None if declared is None else Price(input=declared.input / 1e6, output=declared.output / 1e6)

    def _limits(self, name: str) -> dict[str, Any]:
        """The pipeline's limits, where they are no wider than the project's; and those of the provider."""
        written, provider = self._spec.transform.limits, self._provider(name)
        settings = self._settings.limits
        of_model = settings.get(name) or settings.get(f"{provider}/{name}") or ModelLimits()
        of_provider = settings.get(provider)
        limits: dict[str, Any] = {
            what: _narrower(getattr(written, what), getattr(of_model, what)) for what in _LIMITS
        }
        if "in_flight" not in written.model_fields_set:  # what the project says goes before our default
            limits["in_flight"] = (
                of_model.in_flight or (of_provider or of_model).in_flight or written.in_flight
            )
        if of_provider is not None:
            limits["provider"] = ProviderLimits(
                name=provider, **{what: getattr(of_provider, what) for what in _LIMITS}
            )
        return limits

    def _provider(self, name: str) -> str:
        return self._prices.provider(name) or name.partition("/")[0]


def _narrower(one: int | None, other: int | None) -> int | None:
    return min((n for n in (one, other) if n is not None), default=None)


def _leaves(fields: Mapping[str, FieldSpec]) -> int:
    return sum(
        _leaves(f.fields) if f.fields else (4 if f.type in ("array", "object") else 1)
        for f in fields.values()
    )


def _extra(transform: Transform) -> Mapping[str, Any]:
    extra = {"top_p": transform.top_p, "seed": transform.seed}
    return {name: value for name, value in extra.items() if value is not None}
