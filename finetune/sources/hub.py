"""The Hugging Face Hub: `hf://datasets/OWNER/NAME[@REVISION][#CONFIG]` and `hf://OWNER/NAME[@REVISION]`.

A revision (branch, tag or none) is resolved to a commit once; that commit is what gets downloaded
and recorded.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from finetune.base.errors import UserError, one_line
from finetune.sources.model_folder import NEEDED, weight_files
from finetune.sources.parquet_rows import class_names, column_texts

BATCH = 1_000
SPLITS_READ = ("train", "validation", "test")  # others, such as IMDb's `unsupervised`, are not read
PICKLED = ["pytorch_model*.bin*"]  # weights that are fetched only where there are no safetensors
URI = re.compile(r"^hf://(?P<datasets>datasets/)?(?P<repo>[^@#/]+/[^@#/]+)(@(?P<revision>[^#]+))?(#(?P<config>.+))?$")


class Repository(NamedTuple):
    """A place on the Hub at one commit."""

    repo: str
    commit: str
    config: str | None


def parse_uri(uri: str, datasets: bool) -> re.Match:
    """Parts of a Hub name; raises UserError when it does not name a data set (or model) as it should."""
    match = URI.match(uri)
    if not match or bool(match["datasets"]) != datasets:
        form = "hf://datasets/OWNER/NAME@REVISION#CONFIG" if datasets else "hf://OWNER/NAME@REVISION"
        raise UserError(f"{uri} must have the form {form} (the last parts may be left out)")
    return match


@contextmanager
def hub_errors(repo: str):
    """Errors of the Hub's clients inside the block, told as UserError in one line."""
    import httpx2
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DatasetsError
    from huggingface_hub import errors

    gated = f"{repo} is gated: accept its terms on the Hub, then give a token (`hf auth login`, or HF_TOKEN)"
    again = "check the network and run `dvc repro` again"
    try:
        yield
    except errors.GatedRepoError:
        raise UserError(gated) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{repo} does not exist on the Hub, or is private and HF_TOKEN may not read it; check the uri"
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{repo} has no such revision; check what stands behind the @ of its uri") from None
    except errors.OfflineModeIsEnabled:
        raise UserError(
            f"HF_HUB_OFFLINE is set, so {repo} cannot be downloaded; unset it and run `dvc repro` again"
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        fix = (
            "check the token (HF_TOKEN, or `hf auth login`)" if status in (401, 403) else "run `dvc repro` again later"
        )
        told = f" ({' '.join(error.server_message.split())[:200]})" if error.server_message else ""
        raise UserError(f"the Hub refused {repo} with status {status}{told}; {fix}") from None
    except (DatasetsError, EmptyDatasetError) as error:
        # `datasets` turns a gated repository, and whatever goes wrong while it reads the files, into errors of its own.
        if "is a gated dataset" in str(error):
            raise UserError(gated) from None
        if isinstance(error.__cause__, OSError) and error.__cause__.errno is not None:
            raise error.__cause__ from None
        raise UserError(f"{repo} cannot be read: {one_line(error.__cause__ or error)[:300]}") from None
    except ValueError as error:
        raise UserError(f"{repo} cannot be read: {one_line(error)[:300]}") from None
    except (httpx2.HTTPError, ConnectionError) as error:
        raise UserError(
            f"the connection to the Hub failed while getting {repo} ({one_line(error)[:200]}); {again}"
        ) from None
    except OSError as error:
        # An error of this machine, such as a full disk, has a number; those that the clients raise have none.
        if error.errno is not None:
            raise
        raise UserError(f"{repo} could not be downloaded ({one_line(error)[:300]}); {again}") from None


def resolve(uri: str, datasets: bool) -> Repository:
    """The repository that `uri` names, at the commit that its revision stands for now."""
    from huggingface_hub import HfApi, constants

    match = parse_uri(uri, datasets)
    with hub_errors(match["repo"]):
        info = HfApi().repo_info(
            match["repo"],
            revision=match["revision"],
            repo_type="dataset" if datasets else "model",
            timeout=constants.HF_HUB_ETAG_TIMEOUT,  # without one, it would wait for a silent network without end
        )
    return Repository(match["repo"], info.sha, match["config"])


def dataset_batches(repository: Repository, columns: list[str]) -> dict[str, Iterator[dict[str, list[str | None]]]]:
    """Batches of the named columns for each split, as `finetune.tables.read_batches` gives them.

    Class labels come as their names; -1, the Hub's mark for "no label", as None.
    """
    from datasets import ClassLabel, Value

    splits = dataset_splits(repository)
    wanted = {name: splits[name] for name in SPLITS_READ if name in splits}
    if "train" not in wanted:
        raise UserError(f"{repository.repo} has no split train; it has {', '.join(splits)}")
    for split in wanted.values():
        for column in columns:
            if column not in split.column_names:
                raise UserError(
                    f"{repository.repo} has no column {column!r}; its columns are {', '.join(split.column_names)}"
                )
            if not isinstance(split.features[column], Value | ClassLabel):
                raise UserError(
                    f"{repository.repo}: the column {column!r} must hold text or labels, found {split.features[column]}"
                )
    return {name: text_batches(split, columns) for name, split in wanted.items()}


def dataset_splits(repository: Repository):
    """Every split of a data set as a `datasets.DatasetDict`, from the cache of `datasets` where it has this commit."""
    from datasets import load_dataset_builder

    with hub_errors(repository.repo):
        try:
            # With hf:// in front, a folder of this name on this disk is not taken for the data set.
            builder = load_dataset_builder(
                f"hf://datasets/{repository.repo}", repository.config, revision=repository.commit
            )
        except RuntimeError as error:
            raise UserError(
                f"{repository.repo} cannot be read: {one_line(error)}; try @refs/convert/parquet as its revision"
            ) from None
        except ValueError as error:
            config = "; a configuration is named behind the # of the uri" if "onfig" in str(error) else ""
            raise UserError(f"{repository.repo} cannot be read: {one_line(error)[:300]}{config}") from None
        if builder.name == "cache" or builder.hash != repository.commit:
            # When files of this commit cannot be had, `datasets` takes whichever commit and configuration it has cached.
            raise UserError(
                f"{repository.repo} could not be downloaded at commit {repository.commit[:12]}; "
                "check the network and run `dvc repro` again"
            )
        builder.download_and_prepare()
        return builder.as_dataset()


def text_batches(split, columns: list[str]) -> Iterator[dict[str, list[str | None]]]:
    """Batches of a `datasets.Dataset` with every value as text, the same as from its Parquet files on this disk."""
    for batch in split.select_columns(columns).with_format("arrow").iter(BATCH):
        yield {
            column: column_texts(
                batch.column(column).combine_chunks(), class_names(batch.schema, column), f"the column {column!r}"
            )
            for column in columns
        }


def model_snapshot(repository: Repository) -> Path:
    """Folder with the needed files of a model at its commit, from the Hub's own cache where it has them."""
    from huggingface_hub import snapshot_download

    with hub_errors(repository.repo):
        folder = Path(snapshot_download(repository.repo, revision=repository.commit, allow_patterns=list(NEEDED)))
        if not weight_files(folder):
            snapshot_download(repository.repo, revision=repository.commit, allow_patterns=PICKLED)
    return folder
