"""An S3 server for tests: moto's, over HTTP on 127.0.0.1. What is in it is looked at with boto3, not with our drivers."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from moto.server import ThreadedMotoServer

__all__ = ["S3Server"]


class S3Server:
    """``environ`` is what a program needs to find it."""

    secret = "s3-secret-word"

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request, otherwise
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.environ = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def bucket(self) -> str:
        """A new one."""
        name = f"b{uuid.uuid4().hex[:12]}"
        self._client().create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, **objects: bytes) -> None:
        """Objects by their keys; ``__`` in a name is a dot, ``___`` a slash."""
        for name, data in objects.items():
            self.write(bucket, name.replace("___", "/").replace("__", "."), data)

    def write(self, bucket: str, key: str, data: bytes) -> None:
        self._client().put_object(Bucket=bucket, Key=key, Body=data)

    def delete(self, bucket: str, key: str) -> None:
        self._client().delete_object(Bucket=bucket, Key=key)

    def keys(self, bucket: str) -> list[str]:
        return [found["Key"] for found in self._client().list_objects_v2(Bucket=bucket).get("Contents", ())]

    def data(self, bucket: str, key: str) -> bytes:
        return bytes(self._client().get_object(Bucket=bucket, Key=key)["Body"].read())

    def close(self) -> None:
        self._server.stop()

    def _client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.environ["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )
