"""Publishes to S3 the archive that SageMaker takes: one object, which S3 shows completely or not at all."""

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from finetune.base.errors import UserError, one_line
from finetune.publish.record import REPLACEABLE, checksum
from finetune.publish.sagemaker import write_archive
from finetune.sources.bounds import S3_OPTIONS

NAME = "model.tar.gz"
# Our record, in the object's metadata. S3 sets metadata and content together, so who replaces one also replaces the other.
RECORD = "finetune-publish-sha256"


def parse_destination(url: str) -> str:
    """Address of the archive: a key that ends in .tar.gz is used unchanged; any other key is the folder of model.tar.gz.

    >>> parse_destination("s3://models/film")
    's3://models/film/model.tar.gz'
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket, read as the start of an IPv6 address
        parts = None
    if not parts or not parts.netloc or "?" in url or "#" in url:
        raise UserError(f"{url} must have the form s3://BUCKET/KEY")
    if url.endswith(".tar.gz") and parts.path.strip("/"):
        return url
    return f"{url.rstrip('/')}/{NAME}"


def publish(export: Path, destination: str) -> str:
    """Uploads the exported folder as an archive; returns a line that says where it is.

    Endpoint, region and credentials come from the usual AWS settings: AWS_ENDPOINT_URL, AWS_PROFILE, ~/.aws and so on.
    """
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / NAME
        write_archive(export, archive)
        upload(archive, destination)
        size = archive.stat().st_size / 1e6
    return f"published to {destination} ({size:.1f} MB), for SageMaker's ModelDataUrl"


def upload(file: Path, url: str):
    """Uploads a file to an S3 URL with our record.

    Raises UserError if S3 refuses it, and if the object there was not published by this project.
    """
    try:
        import s3fs
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
    except ImportError:
        raise UserError("s3:// needs s3fs; run `make publish`, or `pip install -r requirements-publish.txt`") from None

    bucket, sum_ = urlsplit(url).netloc, checksum(file)
    # Asking for the bucket first finds mistakes before many megabytes are sent.
    try:
        filesystem = s3fs.S3FileSystem(skip_instance_cache=True, **S3_OPTIONS)
        filesystem.call_s3("head_bucket", Bucket=bucket)
        check_ours(filesystem, url)
        filesystem.put_file(str(file), url, Metadata={RECORD: sum_, f"{RECORD}-size": str(file.stat().st_size)})
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise UserError(
            f"there are no credentials for {url} ({one_line(error)}); set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        ) from None
    except FileNotFoundError:
        raise UserError(f"there is no bucket {bucket} at this endpoint; create it first, or fix the name") from None
    except PermissionError as error:
        raise UserError(
            f"access to {url} denied ({one_line(error)}); the credentials need s3:PutObject and s3:ListBucket"
        ) from None
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        # s3fs raises S3's responses as OSError too, and a ValueError for an endpoint that is no address.
        raise UserError(
            f"{url} was not written ({one_line(error)[:300]}); check the network and publish again"
        ) from None


def check_ours(filesystem, url: str):
    """Raises UserError if an object lies at an S3 URL that this project did not publish; `filesystem` is s3fs's."""
    bucket, key, _ = filesystem.split_path(url)
    try:
        head = filesystem.call_s3("head_object", Bucket=bucket, Key=key)
    except FileNotFoundError:
        return
    metadata = head.get("Metadata", {})
    if RECORD not in metadata or metadata.get(f"{RECORD}-size") != str(head["ContentLength"]):
        raise UserError(f"{url} was not published by this project; choose a key that {REPLACEABLE}")
