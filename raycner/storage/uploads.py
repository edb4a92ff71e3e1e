"""Unfinished uploads to S3, left by killed processes: they are invisible, and cost money.

pyarrow cannot list them. boto3 can, where it is installed (raycner's extra `s3`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from raycner.errors import InputError
from raycner.storage import s3
from raycner.storage.store import ObjectStore

LONG = timedelta(hours=1)
"""The age from which an upload counts as abandoned: a piece is sent within seconds."""


@dataclass(frozen=True)
class Upload:
    """An unfinished upload to a key."""

    key: str
    id: str


def are_seen(store: ObjectStore) -> bool:
    """Whether the unfinished uploads of a store can be listed."""
    return s3.is_available(store.uri)


def unfinished(store: ObjectStore, older: timedelta = LONG) -> list[Upload]:
    """The unfinished uploads below a store that are older than this.

    Raises `InputError` if the server does not answer.
    """
    bucket, root = s3.place(store.uri)
    since = datetime.now(UTC) - older
    return [
        Upload(one["Key"].removeprefix(root), one["UploadId"])
        for one in _listed(store, bucket, root)
        if one["Initiated"] < since
    ]


def abort(store: ObjectStore, upload: Upload) -> None:
    """Forget an upload and all its parts; one that is gone already is no error."""
    bucket, root = s3.place(store.uri)
    client = s3.client(store.uri)
    with _refusing(store):
        try:
            client.abort_multipart_upload(Bucket=bucket, Key=root + upload.key, UploadId=upload.id)
        except client.exceptions.NoSuchUpload:
            return


def _listed(store: ObjectStore, bucket: str, root: str) -> Iterator[Any]:
    with _refusing(store):
        for page in s3.client(store.uri).get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=root):
            yield from page.get("Uploads", ())


@contextmanager
def _refusing(store: ObjectStore) -> Iterator[None]:
    """Report errors of boto3 in one line."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        hint = "check the address, the credentials and region in the environment, and the network"
        what = f"its unfinished uploads cannot be read ({type(error).__name__})"
        raise InputError(what, location=str(store), hint=hint) from None
