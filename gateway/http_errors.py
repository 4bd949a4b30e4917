"""Refusals of requests before they reach the application: one constructor per cause."""

from __future__ import annotations

from log.errors import BackendError, ErrorKind, bad_request


def bad_http_request(why: str) -> BackendError:
    return bad_request("BadHttpRequest", why)


def url_too_long(bytes_max: int) -> BackendError:
    """Answered with status 414."""
    return bad_request("UrlTooLong", f"The address of a request may have {bytes_max} bytes.")


def headers_too_large(bytes_max: int, headers_max: int) -> BackendError:
    """Answered with status 431."""
    return bad_request(
        "HeadersTooLarge",
        f"A request may have {headers_max} headers, and its head {bytes_max} bytes with the address.",
    )


def request_too_slow(seconds_max: int) -> BackendError:
    return BackendError(
        ErrorKind.CLIENT_DISCONNECT,
        "RequestTimeout",
        f"The request did not come within {seconds_max} seconds.",
    )
