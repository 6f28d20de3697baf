"""Connections of urllib3 whose answers come whole within the time-out, for the transport of azure-core.

Imports requests, so that it is imported only where a call is made.
"""

from __future__ import annotations

from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from shared.adapters.bounded import BoundedResponse


class _Plain(HTTPConnection):
    response_class = BoundedResponse


class _Encrypted(HTTPSConnection):
    response_class = BoundedResponse


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _EncryptedPool(HTTPSConnectionPool):
    ConnectionCls = _Encrypted


POOLS = {"http": _PlainPool, "https": _EncryptedPool}


class BoundedAdapter(HTTPAdapter):
    """What a session sends its requests by, through a proxy too."""

    def init_poolmanager(self, *how: Any, **more: Any) -> None:
        """See requests."""
        super().init_poolmanager(*how, **more)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **more: Any) -> ProxyManager:
        """See requests."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **more)
        manager.pool_classes_by_scheme = POOLS
        return manager
