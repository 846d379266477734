"""The exported model in S3, as SageMaker takes it: one object, which S3 shows whole or not at all."""

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from finetune.base.errors import UserError, one_line
from finetune.publish.sagemaker import write_archive

NAME = "model.tar.gz"


def parse_destination(url: str) -> str:
    """Address of the archive: a key that ends in .tar.gz is taken as it is, any other is the folder of model.tar.gz.

    >>> parse_destination("s3://models/film")
    's3://models/film/model.tar.gz'
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket, as if an IPv6 address stood there
        parts = None
    if not parts or not parts.netloc or "?" in url or "#" in url:
        raise UserError(f"{url} must have the form s3://BUCKET/KEY")
    if url.endswith(".tar.gz") and parts.path.strip("/"):
        return url
    return f"{url.rstrip('/')}/{NAME}"


def publish(export: Path, destination: str) -> str:
    """Uploads the exported folder as an archive to a place; says where it is now.

    Endpoint, region and credentials are those of every AWS client: AWS_ENDPOINT_URL, AWS_PROFILE, ~/.aws and so on.
    """
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / NAME
        write_archive(export, archive)
        upload(archive, destination)
        size = archive.stat().st_size / 1e6
    return f"published to {destination} ({size:.1f} MB), as SageMaker's ModelDataUrl takes it"


def upload(file: Path, url: str):
    """Puts a file where the URL says; raises UserError when S3 does not take it."""
    try:
        import s3fs
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
    except ImportError:
        raise UserError("s3:// needs s3fs; run `make publish`, or `pip install -r requirements-publish.txt`") from None

    bucket = urlsplit(url).netloc
    # Asked first, the bucket says what is wrong before many megabytes are on their way.
    try:
        filesystem = s3fs.S3FileSystem(skip_instance_cache=True)
        filesystem.call_s3("head_bucket", Bucket=bucket)
        filesystem.put_file(str(file), url)
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise UserError(
            f"there are no credentials for {url} ({one_line(error)}); set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        ) from None
    except FileNotFoundError:
        raise UserError(
            f"there is no bucket {bucket}, or not at this endpoint; make it first, or mend the name"
        ) from None
    except PermissionError as error:
        raise UserError(
            f"the credentials at hand may not write to {url} ({one_line(error)}); it needs s3:PutObject and s3:ListBucket"
        ) from None
    except (BotoCoreError, ClientError, OSError) as error:
        # s3fs gives S3's own answers the numbers of errors on this machine.
        raise UserError(
            f"{url} was not written ({one_line(error)[:300]}); check the network and publish again"
        ) from None
