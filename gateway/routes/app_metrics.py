"""`GET /api/app_metrics/<kind>`: the dashboard's charts, asked for and answered (spec 02 21).

Kinds that are not here are answered as not built (gateway/app.py). Functions are named as callers name them;
no `udfType` means any.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from quart import Blueprint, Response, request

from functions.path import parse_function_path
from gateway import app_metrics
from gateway.app_metrics import NANOSECONDS, RATES, TABLE_METRICS, Measure, Window
from gateway.core import GatewayCore
from gateway.http import HttpRequest
from gateway.identity import require_admin
from gateway.recent_usage import FunctionKey, RecentUsage
from gateway.routes.functions import json_response
from gateway.usage import HTTP_ACTION
from log import errors
from log.limits import CHART_FUNCTIONS_DEFAULT, CHART_FUNCTIONS_MAX, CHART_PARTS_MAX

_SECONDS_MAX = 1 << 62  # JSON could not carry later times back

Arguments = Mapping[str, str]
Chart = Callable[[RecentUsage, Arguments], Any]
IsWanted = Callable[[FunctionKey], bool]


def app_metrics_routes(core: GatewayCore) -> Blueprint:
    routes = Blueprint("app_metrics", __name__, url_prefix="/api/app_metrics")

    def add_chart(kind: str, chart: Chart) -> None:
        async def handle() -> Response:
            require_admin(core.settings, await core.identify(HttpRequest(request.scope)))
            core.note_concurrency()
            answer = chart(core.function_log.usage.recent, request.args)
            return json_response(orjson.dumps(answer))

        routes.add_url_rule(f"/{kind}", endpoint=kind, view_func=handle)

    for kind, chart in _CHARTS.items():
        add_chart(kind, chart)

    @routes.get("/table_rate")
    async def table_rate() -> Response:
        require_admin(core.settings, await core.identify(HttpRequest(request.scope)))
        window, named = _window(request.args), _table(request.args)
        return json_response(
            orjson.dumps(app_metrics.table_chart(await core.backend.table_rows(*named), window))
        )

    return routes


# --- charts -----------------------------------------------------------------------------------------


def _udf_rate(recent: RecentUsage, arguments: Arguments) -> Any:
    metric = arguments.get("metric", "")
    if metric not in RATES:
        raise errors.bad_query_args(f"`metric` must be one of {', '.join(RATES)}")
    return app_metrics.chart(recent, _window(arguments), _named(arguments), RATES[metric])


def _cache_hit_percentage(recent: RecentUsage, arguments: Arguments) -> Any:
    measure = app_metrics.cache_hit_percentage
    return app_metrics.chart(recent, _window(arguments), _named(arguments), measure)


def _latency_percentiles(recent: RecentUsage, arguments: Arguments) -> Any:
    percentiles = _json(arguments, "percentiles")
    if not isinstance(percentiles, list) or not 0 < len(percentiles) <= CHART_FUNCTIONS_MAX:
        raise errors.bad_query_args("`percentiles` must be a short array of numbers")
    if not all(_is_number(percentile) and 0 <= percentile <= 100 for percentile in percentiles):
        raise errors.bad_query_args("a percentile is a number from 0 to 100")
    return app_metrics.percentiles_chart(recent, _window(arguments), _named(arguments), percentiles)


def _top(measure: Measure, is_wanted: IsWanted) -> Chart:
    def chart(recent: RecentUsage, arguments: Arguments) -> Any:
        return app_metrics.top_charts(recent, _window(arguments), is_wanted, measure, _length_max(arguments))

    return chart


def _scheduled_job_lag(recent: RecentUsage, arguments: Arguments) -> Any:
    return app_metrics.job_lag_chart(recent, _window(arguments))


def _function_concurrency(recent: RecentUsage, arguments: Arguments) -> Any:
    return app_metrics.concurrency_charts(recent, _window(arguments))


def _any(_key: FunctionKey) -> bool:
    return True


def _is_query(key: FunctionKey) -> bool:
    """Of the others no answer is ever kept."""
    return key.udf_type == "Query"


_CHARTS: dict[str, Chart] = {
    "udf_rate": _udf_rate,
    "cache_hit_percentage": _cache_hit_percentage,
    "latency_percentiles": _latency_percentiles,
    "failure_percentage_top_k": _top(app_metrics.failure_percentage, _any),
    "cache_hit_percentage_top_k": _top(app_metrics.cache_hit_percentage, _is_query),
    "function_call_count_top_k": _top(RATES["invocations"], _any),
    "subscription_invalidations_top_k": _top(RATES["subscriptionInvalidations"], _is_query),
    "scheduled_job_lag": _scheduled_job_lag,
    "function_concurrency": _function_concurrency,
}


# --- what was asked ---------------------------------------------------------------------------------


def _window(arguments: Arguments) -> Window:
    asked = _json(arguments, "window")
    if not isinstance(asked, dict):
        raise errors.bad_query_args("`window` must be an object")
    start_ns, end_ns = _time_ns(asked.get("start")), _time_ns(asked.get("end"))
    parts = _whole(asked, "num_buckets", CHART_PARTS_MAX)
    if start_ns >= end_ns or parts == 0:
        raise errors.bad_query_args("`window` must end after it starts, and have a part")
    return Window(start_ns, end_ns, parts)


def _time_ns(time: object) -> int:
    if not isinstance(time, dict):
        raise errors.bad_query_args("`start` and `end` must be objects")
    seconds = _whole(time, "secs_since_epoch", _SECONDS_MAX)
    return seconds * NANOSECONDS + _whole(time, "nanos_since_epoch", NANOSECONDS - 1)


def _whole(fields: Mapping[str, Any], name: str, most: int) -> int:
    value = fields.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise errors.bad_query_args(f"`{name}` must be a whole number from 0 to {most}")
    return value


def _named(arguments: Arguments) -> IsWanted:
    """The function that `path`, `componentPath` and `udfType` name. Those of HTTP actions are addresses."""
    path, udf_type = arguments.get("path"), arguments.get("udfType")
    if path is None:
        raise errors.bad_query_args("`path` must name a function")
    component = arguments.get("componentPath", "")
    if udf_type != HTTP_ACTION and " " not in path:
        path = parse_function_path(path).canonical
    return lambda key: (key.component, key.path) == (component, path) and udf_type in (None, key.udf_type)


def _table(arguments: Arguments) -> tuple[str, str, str]:
    """(metric, component, name of the table)"""
    metric, name = arguments.get("metric", ""), arguments.get("name")
    if metric not in TABLE_METRICS:
        raise errors.bad_query_args(f"`metric` must be one of {', '.join(TABLE_METRICS)}")
    if name is None:
        raise errors.bad_query_args("`name` must name a table")
    return metric, arguments.get("componentPath", ""), name


def _length_max(arguments: Arguments) -> int:
    text = arguments.get("k")
    if text is None:
        return CHART_FUNCTIONS_DEFAULT
    if (
        not (text.isascii() and text.isdecimal())
        or len(text) > 2
        or not 1 <= int(text) <= CHART_FUNCTIONS_MAX
    ):
        raise errors.invalid_top_k(text, CHART_FUNCTIONS_MAX)
    return int(text)


def _json(arguments: Arguments, name: str) -> object:
    try:
        return orjson.loads(arguments[name])
    except (KeyError, orjson.JSONDecodeError):
        raise errors.bad_query_args(f"`{name}` must be JSON") from None


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
