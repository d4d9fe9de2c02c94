"""How obstore is opened, waited for, and how its failures are named."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from model_packager.errors import ArtifactNotFound, FetchFailed
from model_packager.stores.parallel import result_of
from model_packager.uri import StoreRoot

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

T = TypeVar("T")
Backend = LocalStore | S3Store | GCSStore | AzureStore
STORE_ERRORS = (BaseError, OSError)  # some errors of obstore are those of the standard library

CONNECT_TIMEOUT = timedelta(seconds=5)
REQUEST_TIMEOUT = timedelta(seconds=60)
RETRIES = 4
RETRY_TIMEOUT = timedelta(seconds=60)


def open_file(root: StoreRoot, *, create: bool = False) -> LocalStore:
    """A folder as a store. Raises ArtifactNotFound if it does not exist and ``create`` is false."""
    folder = Path("/") / root.path
    if not create and not folder.is_dir():
        raise ArtifactNotFound(f"The folder {folder} does not exist, so {root} has no models.")
    try:
        return LocalStore(folder, mkdir=create)
    except STORE_ERRORS as error:
        raise failed(error, root) from error


def open_s3(root: StoreRoot) -> S3Store:
    """A bucket as a store, with credentials, region and endpoint from the AWS_* variables of the environment.

    Plain HTTP is used only if the endpoint that was given says ``http://``; addressing is by path, not by host.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return S3Store(root.authority, prefix=root.path or None, **_options(endpoint))


def open_gs(root: StoreRoot) -> GCSStore:
    """A bucket of Google Cloud Storage, credentials from GOOGLE_* variables or the metadata server."""
    return GCSStore(root.authority, prefix=root.path or None, **_options(""))


def open_az(root: StoreRoot) -> AzureStore:
    """A container of the storage account that AZURE_STORAGE_ACCOUNT_NAME names, with AZURE_* credentials.

    Plain HTTP is used only if AZURE_STORAGE_ENDPOINT says ``http://``, or for the emulator on this machine.
    """
    emulated = os.environ.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true")
    endpoint = "http://emulator" if emulated else os.environ.get("AZURE_STORAGE_ENDPOINT", "")
    return AzureStore(root.authority, prefix=root.path or None, **_options(endpoint))


def open_backend(root: StoreRoot, *, create: bool = False) -> Backend:
    """The client for ``root``. Raises FetchFailed if the environment configures it wrongly."""
    if root.scheme == "file":
        return open_file(root, create=create)
    opener: dict[str, Callable[[StoreRoot], Backend]] = {"s3": open_s3, "gs": open_gs, "az": open_az}
    try:
        return opener[root.scheme](root)
    except STORE_ERRORS as error:
        raise failed(error, root) from error


class _Options(TypedDict):
    client_options: ClientConfig
    retry_config: RetryConfig


def _options(endpoint: str) -> _Options:
    return {
        "client_options": {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": CONNECT_TIMEOUT,
            "timeout": REQUEST_TIMEOUT,
        },
        "retry_config": {"max_retries": RETRIES, "retry_timeout": RETRY_TIMEOUT},
    }


def interruptible(call: Callable[[], T]) -> T:
    """Run a blocking call so that signals are handled at once.

    Python handles signals in the main thread, between two steps of its own; a request that waits for a network inside
    the store client is one long step. So the main thread lets another one wait.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result_of(future)


def failed(error: Exception, root: StoreRoot) -> FetchFailed:
    """The named failure for an error of obstore, without the debug output that it appends."""
    detail = str(error).split("\n\nDebug source", 1)[0].replace("\n", " ")[:400]
    if isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError):
        return FetchFailed(f"The store {root} refused access; check the credentials and their permissions ({detail}).")
    return FetchFailed(f"The store {root} could not be used; check its address and that it is up ({detail}).")
