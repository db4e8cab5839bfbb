"""Routes of models: versions, deployments, points, promotion."""

import asyncio
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from detectors.trend import Trend
from detectors.values import UNKNOWN_MODEL, Axis, MetricPoint
from remediation.errors import PromotionForbidden, PromotionRefused
from remediation.ports import Reader
from serving.api.access import Acting, Filter, Identifier, Limit, Services
from serving.api.bodies import PromotionIn
from serving.api.judged import TrendOut
from serving.api.problems import Problem
from serving.api.schemas import (
    DeploymentOut,
    ModelDetail,
    ModelOut,
    ModelPage,
    Page,
    PointOut,
    VersionOut,
)
from serving.api.services import ApiServices
from serving.model_errors import ServingError

router = APIRouter(tags=["models"])

_OK = "ok"
"""What is said of a registry that answers."""
_PATIENCE_S = 10.0
"""How long the list waits for the registry: a server that hangs is tried for 40 s, and commands give up before."""
_NO_TREND = {"rows", "reference"}
"""Points that are no measures."""
_ORDER: tuple[Trend | None, ...] = ("degrading", "improving", "stable", None)


@router.get("/models", summary="Models and the version that serves")
async def list_models(services: Services) -> ModelPage:
    """Every model that was ever registered, deployed or measured."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            registered, registry = await asyncio.to_thread(_all_registered, services)
    except TimeoutError:
        registered, registry = {}, f"The registry has not answered within {_PATIENCE_S:g} s."
    return await asyncio.to_thread(_listed, services, registered, registry)


def _listed(services: ApiServices, registered: dict[str, list[str]], registry: str) -> ModelPage:
    with services.journal.reading() as unit:
        known = {*services.records.models(), *unit.deployed_models(), *registered}
        items = [
            _shown(services, unit, name, registered.get(name, []) if registry == _OK else None)
            for name in sorted(known - {UNKNOWN_MODEL})
        ]
    return ModelPage(items=items, registry=registry)


@router.get("/models/{model}", summary="One model: deployments and registered versions")
def show_model(services: Services, model: Identifier) -> ModelDetail:
    """When the registry is away, `registry` says so and `registered` is empty."""
    registered, registry = _registered(services, model)
    with services.journal.reading() as unit:
        versions = [each.version for each in registered] if registry == _OK else None
        shown = _shown(services, unit, model, versions)
        deployments = [DeploymentOut.of(each) for each in unit.deployments(model)]
    if not deployments and not registered and model not in services.records.models():
        raise Problem(HTTPStatus.NOT_FOUND, f"There is no model {model!r}.")
    return ModelDetail(
        **shown.model_dump(), deployments=deployments, registered=registered, registry=registry
    )


@router.get("/models/{model}/points", summary="Metric points, oldest first")
def list_points(
    services: Services,
    model: Identifier,
    measure: Annotated[str, Query(examples=["accuracy"], max_length=200, pattern=r"^\w+$")],
    feature: Filter = None,
    version: Filter = None,
    axis: Axis | None = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    limit: Limit = 500,
) -> Page[PointOut]:
    """One measure over time, each point in its latest revision."""
    points = services.records.series(
        model,
        measure,
        feature=feature,
        version=version,
        axis=axis,
        since_us=_microseconds(since),
        until_us=_microseconds(until),
        limit=limit,
    )
    return Page(items=[PointOut.of(point) for point in points])


@router.get("/models/{model}/trends", summary="Where each measure is heading")
def list_trends(
    services: Services, model: Identifier, version: Filter = None, axis: Axis | None = None
) -> Page[TrendOut]:
    """Of the version that serves unless another is named, over all rows; the ones that degrade first."""
    with services.journal.reading() as unit:
        desired = unit.desired(model)
    chosen = version or (desired.version if desired else None)
    if chosen is None:
        if model not in services.records.models():
            raise Problem(HTTPStatus.NOT_FOUND, f"There is no model {model!r}.")
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"Name a version: none of {model!r} was made to serve."
        )
    found: dict[tuple[str, str, str], list[MetricPoint]] = {}
    for point in services.records.recent(model, version=chosen, axis=axis):
        if point.measure not in _NO_TREND:
            found.setdefault((point.axis, point.measure, point.feature or ""), []).append(point)
    told = [TrendOut.of(points) for _, points in sorted(found.items())]
    return Page(items=sorted(told, key=lambda one: _ORDER.index(one.trend)))


@router.post("/models/{model}/promote", summary="Make a registered version serve")
async def promote(
    services: Services, acting: Acting, model: Identifier, promotion: PromotionIn
) -> DeploymentOut:
    """Answers when the decision is on record and made known; serving acknowledges it by digest a moment later. With
    `dry_run` every check is made, and the answer is what would have been decided."""
    try:
        desired = await services.promote(
            model=model,
            version=promotion.version,
            by=acting(promotion.by),
            reason=promotion.reason,
            break_glass=promotion.break_glass,
            dry_run=promotion.dry_run,
        )
    except PromotionForbidden as error:
        raise Problem(HTTPStatus.FORBIDDEN, str(error)) from error
    except PromotionRefused as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from error
    return DeploymentOut.of(desired)


def _shown(services: ApiServices, unit: Reader, model: str, registered: list[str] | None) -> ModelOut:
    desired = unit.desired(model)
    served = {each.version for each in unit.deployments(model)}
    return ModelOut(
        model=model,
        version=desired.version if desired else None,
        epoch=desired.epoch if desired else 0,
        versions=len(served),
        never_served=None if registered is None else [each for each in registered if each not in served],
        undefined=services.records.without_reference(model),
    )


def _registered(services: ApiServices, model: str) -> tuple[list[VersionOut], str]:
    try:
        return [VersionOut.of(each) for each in services.registry.versions(model)], _OK
    except ServingError as error:
        return [], str(error)


def _all_registered(services: ApiServices) -> tuple[dict[str, list[str]], str]:
    """The versions of each model that Homeostat has registered; what else the registry holds is none of ours."""
    try:
        return services.registry.models(), _OK
    except ServingError as error:
        return {}, str(error)


def _microseconds(time: datetime | None) -> int | None:
    return None if time is None else round(time.timestamp() * 1e6)
