"""The endpoints of one gateway, with their limits: a model's within its provider's, shared with other runs."""

from __future__ import annotations

from collections.abc import Callable

from loom_dagster.clock import Clock
from loom_dagster.gateway.endpoint import Endpoint
from loom_dagster.gateway.limiter import Limiter
from loom_dagster.gateway.question import Model
from loom_dagster.gateway.sharing import Shares, Sharing
from loom_dagster.records import digest

__all__ = ["Endpoints"]

_UNBOUNDED = 1_000_000  # calls in flight, where only the rates of a provider are limited


class Endpoints:
    """Made when they are first asked for. For one event loop; ``patience`` in seconds."""

    def __init__(
        self, *, clock: Clock, patience: float, note: Callable[[str], None], shares: Shares | None
    ) -> None:
        self._clock, self._patience, self._note = clock, patience, note
        self._sharing = None if shares is None else Sharing(shares, clock=clock, note=note)
        self._endpoints: dict[tuple[str, str | None], Endpoint] = {}
        self._providers: dict[str, Limiter] = {}

    def of(self, model: Model) -> Endpoint:
        """The endpoint of ``model``: the judges of a model share its limits with the transform."""
        where = (model.name, model.api_base)
        endpoint = self._endpoints.get(where)
        if endpoint is None:
            endpoint = self._endpoints[where] = self._made(model)
        return endpoint

    async def close(self) -> None:
        """Leave the limits to others."""
        if self._sharing is not None:
            await self._sharing.leave()

    def _made(self, model: Model) -> Endpoint:
        name, provider = model.name, self._provider(model)
        limiter = Limiter(
            in_flight=model.in_flight,
            clock=self._clock,
            requests_per_minute=model.requests_per_minute,
            tokens_per_minute=model.tokens_per_minute,
            within=provider,
        )
        # an address may hold a password, and the name is written down
        limits = {f"{name}@{digest(model.api_base).hex()[:12]}" if model.api_base else name: limiter}
        if model.provider is not None and provider is not None:
            limits[f"{model.provider.name}/*"] = provider
        sharing = None if name.startswith("offline/") else self._sharing

        def join() -> None:
            if sharing is not None:
                sharing.add(limits)

        said = name if model.api_base is None else f"{name} at {model.api_base}"
        return Endpoint(said, limiter, clock=self._clock, patience=self._patience, note=self._note, join=join)

    def _provider(self, model: Model) -> Limiter | None:
        limits = model.provider
        if limits is None:
            return None
        if limits.name not in self._providers:
            self._providers[limits.name] = Limiter(
                in_flight=limits.in_flight or _UNBOUNDED,
                clock=self._clock,
                requests_per_minute=limits.requests_per_minute,
                tokens_per_minute=limits.tokens_per_minute,
            )
        return self._providers[limits.name]
