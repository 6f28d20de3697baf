"""Connections of botocore's clients whose answers come whole within the time-out.

Imports botocore, so that it is imported only where AWS is asked.
"""

from __future__ import annotations

from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from shared.adapters.bounded import BoundedResponse


class _Plain(AWSHTTPConnection):  # type: ignore[misc]
    response_class = BoundedResponse


class _Encrypted(AWSHTTPSConnection):  # type: ignore[misc]
    response_class = BoundedResponse


class _PlainPool(AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Plain


class _EncryptedPool(AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Encrypted


POOLS = {"http": _PlainPool, "https": _EncryptedPool}


def bounded(client: Any) -> Any:
    """The client, whose time-out is for whole answers now, through a proxy too; botocore has no setting for it."""
    # Pools are made with the first request; those of proxies take their classes from here as well.
    client._endpoint.http_session._pool_classes_by_scheme.update(POOLS)
    return client
