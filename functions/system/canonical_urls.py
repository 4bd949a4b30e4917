"""Where the deployment is found: addresses that an operator set instead of the configured ones (spec 02 22).

Each is a row of `_canonical_urls`, read with the catalog, because functions see it as a built-in variable: a
change is one commit, after which every live query is run again, and which holds what the auth config says
under the new address, as that of an environment variable does. It moves nothing: the doors of the server,
and whatever leads to them, are the operator's own business.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from functions.catalog import CANONICAL_URLS, CLOUD_URL, SITE_URL, URL_VARIABLES
from functions.system.deployment_events import URL_CHANGED, record_event
from functions.system.environment import PreparedChange, apply_prepared, prepare_change
from functions.system.errors import canonical_url_invalid
from functions.system.operation import Args, Evaluation, SystemContext
from functions.transaction import Transaction
from log.errors import bad_json_body
from log.limits import CANONICAL_URL_LENGTH_MAX

_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/\[\]@!$&'()*+,;=%-]*")
_Change = tuple[str, str | None]


def prepare_update(transaction: Transaction, body: dict[str, Any], context: SystemContext) -> Evaluation:
    """Check the change; evaluating the stored auth config under its outcome makes a PreparedChange."""
    return prepare_change(transaction, _changed_variables(transaction, _parse(body), context), context)


def update_canonical_url(
    transaction: Transaction, body: dict[str, Any], prepared: PreparedChange, context: SystemContext
) -> None:
    """Set one of the two addresses, or, without a `url`, go back to the configured one; the answer is
    empty."""
    destination, url = change = _parse(body)
    apply_prepared(transaction, _changed_variables(transaction, change, context), prepared)
    table = transaction.catalog.tables[CANONICAL_URLS]
    rows = transaction.all_documents(table)
    row = next((row for row in rows if row["requestDestination"] == destination), None)
    if (row["url"] if row is not None else None) == url:
        return
    if row is None:
        transaction.insert(CANONICAL_URLS, {"requestDestination": destination, "url": url})
    elif url is None:
        transaction.delete(table, row["_id"])
    else:
        transaction.patch(table, row["_id"], {"url": url})
    record_event(transaction, URL_CHANGED, {"request_destination": destination, "url": url})


# --- as others ask for them ---------------------------------------------------------------------------


def get_canonical_urls(
    transaction: Transaction, _body: dict[str, Any], _prepared: None, context: SystemContext
) -> dict[str, str]:
    return {
        "convexCloudUrl": cloud_url(transaction, {}, context),
        "convexSiteUrl": site_url(transaction, {}, context),
    }


def cloud_url(transaction: Transaction, _args: Args, context: SystemContext) -> str:
    return context.variables_of(transaction.catalog)[CLOUD_URL]


def site_url(transaction: Transaction, _args: Args, context: SystemContext) -> str:
    return context.variables_of(transaction.catalog)[SITE_URL]


# --- rules --------------------------------------------------------------------------------------------


def _changed_variables(transaction: Transaction, change: _Change, context: SystemContext) -> dict[str, str]:
    """What functions see after the change."""
    variables = context.variables_of(transaction.catalog)
    destination, url = change
    name = URL_VARIABLES[destination]
    variables[name] = context.system_environment[name] if url is None else url
    return variables


def _parse(body: dict[str, Any]) -> _Change:
    """What requests go there, and its new address; None: the configured one."""
    destination, url = body.get("requestDestination"), body.get("url")
    if not isinstance(destination, str) or destination not in URL_VARIABLES:
        raise bad_json_body(f"`requestDestination` must be one of {', '.join(URL_VARIABLES)}")
    if url is None:
        return destination, None
    if not isinstance(url, str):
        raise bad_json_body("`url` must be a string")
    return destination, _checked(url)


def _checked(url: str) -> str:
    """The address without slashes at its end: whoever uses it writes `/` and a path behind it."""
    if len(url) > CANONICAL_URL_LENGTH_MAX:
        raise canonical_url_invalid(f"it is longer than {CANONICAL_URL_LENGTH_MAX} characters")
    if "?" in url or "#" in url:
        raise canonical_url_invalid("it has a query or a fragment")
    if not _CHARACTERS.fullmatch(url):
        raise canonical_url_invalid("it has a character that no address has unencoded")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as failure:
        raise canonical_url_invalid(str(failure)) from None
    if parts.scheme not in ("http", "https") or not host:
        raise canonical_url_invalid("it does not begin with http:// or https:// and a host")
    if "@" in parts.netloc:
        raise canonical_url_invalid("it has a user name")
    return url.rstrip("/")
