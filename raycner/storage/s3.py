"""What pyarrow cannot ask of S3, by boto3, where it is installed (raycner's extra `s3`).

boto3 finds server and credentials in the environment like everything else, or the server in the URI's
`endpoint_override`.
"""

from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qs, urlsplit

LOST = ("PreconditionFailed", "ConditionalRequestConflict")
"""The errors of a conditional write that another write came before."""


def is_available(uri: str) -> bool:
    """Whether this is an address of S3, and boto3 is installed."""
    return uri.startswith("s3://") and find_spec("boto3") is not None


def client(uri: str) -> Any:
    """A client of the server of an address."""
    import boto3

    query = {name: values[-1] for name, values in parse_qs(urlsplit(uri).query).items()}
    server = query.get("endpoint_override")
    if server and "://" not in server:
        server = f"{query.get('scheme', 'https')}://{server}"
    return boto3.client("s3", endpoint_url=server, region_name=query.get("region"))


def place(uri: str) -> tuple[str, str]:
    """The bucket of an address, and what all keys below it begin with."""
    where = urlsplit(uri)
    folder = where.path.strip("/")
    return where.netloc.rpartition("@")[2], f"{folder}/" if folder else ""


def create(uri: str, key: str, data: bytes) -> bool:
    """Write an object unless there is one (`If-None-Match: *`); whether this call did.

    Raises OSError where the server does not answer, or does not know the condition.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, root = place(uri)
    try:
        client(uri).put_object(Bucket=bucket, Key=root + key, Body=data, IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] in LOST:
            return False
        raise OSError(error.response["Error"]["Code"]) from None
    except BotoCoreError as error:
        raise OSError(type(error).__name__) from None
    return True
