"""Settings of AWS and answers of servers that are not right: why, and what to do, in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra import object_storage
from infra.errors import StorageError, StoreUnreachable
from tests.fixtures.answering import Answering

URI = "s3://bucket/key"


@pytest.fixture(autouse=True)
def settings(answering: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Credentials and an endpoint, and nothing of this machine's."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", answering.url)
    # A client is kept as long as what it was made of does not change; files are not looked at again.
    monkeypatch.setenv("AWS_SESSION_TOKEN", tmp_path.name)
    with object_storage.impatient():
        yield


def refusal(call: Callable[[str], object] = object_storage.check, uri: str = URI) -> str:
    with pytest.raises(StorageError) as refused:
        call(uri)
    said = str(refused.value)
    assert "\n" not in said
    assert "; " in said
    assert "hunter2" not in said
    return said


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"AWS_PROFILE": "nobody"}, "there is no profile 'nobody' in ~/.aws/config; correct AWS_PROFILE"),
        ({"AWS_REGION": "eu central 1"}, "AWS_REGION is not the name of a region; write it like eu-central-1"),
        ({"AWS_MAX_ATTEMPTS": "many"}, "AWS_MAX_ATTEMPTS is not a number of attempts; write 1 or more"),
        ({"AWS_MAX_ATTEMPTS": "-1"}, "AWS_MAX_ATTEMPTS is not a number of attempts"),
        ({"AWS_ENDPOINT_URL_S3": "localhost:9000"}, "AWS_ENDPOINT_URL_S3 is not a URL; write it like http://host:port"),
        ({"AWS_ENDPOINT_URL_S3": "ftp://host"}, "AWS_ENDPOINT_URL_S3 is not a URL"),
        ({"AWS_ENDPOINT_URL_S3": "http://host:port"}, "AWS_ENDPOINT_URL_S3 and AWS_REGION name no server"),
        ({"AWS_ACCESS_KEY_ID": "key\n"}, "the credentials hold an invalid character; set them again"),
        ({"AWS_REQUEST_CHECKSUM_CALCULATION": "never"}, "a checksum setting is not valid; write when_required"),
        ({"http_proxy": "http://127.0.0.1:9"}, "the proxy does not answer; check HTTPS_PROXY and HTTP_PROXY"),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "no answer from http://127.0.0.1:9; check AWS_ENDPOINT_URL_S3"),
    ],
)
def test_variables(answering: Answering, variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answering.answers(200)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert said in refusal()


def test_tls(answering: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", answering.url.replace("http", "https"))
    assert "no TLS; write http:// in AWS_ENDPOINT_URL_S3" in refusal()
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere.pem")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "another")
    assert "AWS_CA_BUNDLE names no file; correct it, or unset it" in refusal()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"[default\nregion\n", "config cannot be parsed; correct it, or name another in AWS_CONFIG_FILE"),
        (b"\xff\xfe[\x00", "config cannot be parsed"),
        (b"[default]\nmax_attempts = many\n", "AWS_MAX_ATTEMPTS is not a number of attempts"),
        (b"[default]\ncredential_process = false\n", "the credential provider fails; run the credential_proc"),
        (b"[default]\ncredential_process = /nowhere/at/all\n", "/nowhere/at/all: No such file or directory"),
        (b"[default]\nsso_session = x\n", "check the AWS settings, in the environment and in ~/.aws/config"),
        (b"", "it needs credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE"),
    ],
)
def test_files(config: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_bytes(config)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert said in refusal()


def error(code: str, message: str = "m") -> str:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (403, error("RequestTimeTooSkewed"), {}, "this machine's clock and that of http"),
        (
            403,
            error("AccessDenied"),
            {},
            "was refused (AccessDenied); grant this account s3:ListBucket, or use another",
        ),
        (
            301,
            error("PermanentRedirect"),
            {"x_amz_bucket_region": "eu-west-1"},
            "region eu-west-1; set AWS_REGION=eu-w",
        ),
        (400, error("AuthorizationHeaderMalformed", "expecting 'eu-west-3'"), {}, "its bucket is in region eu-west-3"),
        (400, error("AuthorizationHeaderMalformed"), {}, "in another region, or at another address; set AWS_REGION to"),
        (307, error("TemporaryRedirect"), {"Location": "/other"}, "another region, or at another address"),
        (400, error("InvalidBucketName"), {}, "the bucket's name is not valid; write 3 to 63 lower-case letters"),
        (407, "", {}, "the proxy asks for a login; write it into HTTPS_PROXY, or set NO_PROXY"),
        (200, "<html>console</html>", {}, "answered 200, but not as S3 does; check AWS_ENDPOINT_URL_S3"),
        (404, "<html>nothing</html>", {}, "answered 404, but not as S3 does"),
        (403, "<html>forbidden</html>", {}, "answered 403, but not as S3 does"),
        (507, error("XMinioStorageFull"), {}, "cannot be used now: http"),
    ],
)
def test_answers(answering: Answering, status: int, body: str, headers: dict[str, str], said: str) -> None:
    answering.answers(status, body, **headers)
    assert said in refusal()


def test_what_the_rights_to_read_are(answering: Answering) -> None:
    answering.answers(403, error("AccessDenied"))
    assert "s3:GetObject and s3:ListBucket, without which S3 also refuses objects that do not exist" in refusal(
        object_storage.read_bytes
    )
    assert "grant this account s3:PutObject" in refusal(lambda uri: object_storage.write_bytes(uri, b""))


def test_a_redirect_without_an_end(answering: Answering) -> None:
    answering.answers(301)
    assert "another region, or at another address" in refusal(object_storage.exists)


def test_a_page_of_a_server_that_is_not_well_may_pass(answering: Answering) -> None:
    answering.answers(502, "<html>bad gateway</html>")
    with pytest.raises(StoreUnreachable, match="answered 502; check the server"):
        object_storage.check(URI)


@pytest.mark.parametrize("bucket", ["My_Bucket!", "ümlaut", "bucket:8080", "a b"])
def test_names_of_buckets(bucket: str) -> None:
    assert "the bucket's name is not valid; write 3 to 63 lower-case letters" in refusal(uri=f"s3://{bucket}/key")
