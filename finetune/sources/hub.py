"""The Hugging Face Hub: `hf://datasets/OWNER/NAME[@REVISION][#CONFIG]` and `hf://OWNER/NAME[@REVISION]`.

A revision (a branch, a tag or none) is resolved to a commit once; that commit is downloaded and recorded.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2
from datasets import ClassLabel, DatasetDict, Value, load_dataset_builder
from datasets.data_files import EmptyDatasetError
from datasets.exceptions import DatasetsError
from huggingface_hub import HfApi, constants, errors, snapshot_download

from finetune.base.errors import MALFORMED, UserError, one_line
from finetune.sources.model_folder import NEEDED, RUNS_CODE, refuse_code, weight_files
from finetune.sources.parquet_rows import class_names, column_texts, list_texts

BATCH = 1_000
SPLITS_READ = ("train", "validation", "test")  # others, such as IMDb's `unsupervised`, are ignored
PICKLED = ["pytorch_model*.bin*"]  # weights, fetched only if the repository has no safetensors
URI = re.compile(r"^hf://(?P<datasets>datasets/)?(?P<repo>[^@#/]+/[^@#/]+)(@(?P<revision>[^#]+))?(#(?P<config>.+))?$")


class Repository(NamedTuple):
    """A repository on the Hub at one commit."""

    repo: str
    commit: str
    config: str | None


def parse_uri(uri: str, datasets: bool) -> re.Match:
    """Parts of an hf:// name; raises UserError unless it has the form of a data set's name (or of a model's)."""
    match = URI.match(uri)
    if not match or bool(match["datasets"]) != datasets:
        form = "hf://datasets/OWNER/NAME@REVISION#CONFIG" if datasets else "hf://OWNER/NAME@REVISION"
        raise UserError(f"{uri} must have the form {form}; REVISION and CONFIG are optional")
    return match


@contextmanager
def hub_errors(repo: str):
    """Turns errors of the Hub's clients inside the block into a UserError of one line."""
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
        raise UserError(f"{repo} has no such revision; check the part after @ in its uri") from None
    except errors.OfflineModeIsEnabled:
        raise UserError(
            f"HF_HUB_OFFLINE is set, so {repo} cannot be downloaded; unset it and run `dvc repro` again"
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        fix = (
            "check the token (HF_TOKEN, or `hf auth login`)" if status in (401, 403) else "run `dvc repro` again later"
        )
        reason = f" ({' '.join(error.server_message.split())[:200]})" if error.server_message else ""
        raise UserError(f"the Hub refused {repo} with status {status}{reason}; {fix}") from None
    except (DatasetsError, EmptyDatasetError) as error:
        # `datasets` wraps the error of a gated repository, and every error while it reads files, in its own types.
        if "is a gated dataset" in str(error):
            raise UserError(gated) from None
        if isinstance(error.__cause__, OSError) and error.__cause__.errno is not None:
            raise error.__cause__ from None
        raise UserError(f"{repo} cannot be read: {one_line(error.__cause__ or error)[:300]}") from None
    except ValueError as error:
        raise UserError(f"{repo} cannot be read: {one_line(error)[:300]}") from None
    except (*MALFORMED, httpx2.InvalidURL) as error:
        reason = f"{type(error).__name__}: {one_line(error)[:300]}"
        raise UserError(
            f"the Hub's answer about {repo} cannot be read ({reason}); check HF_ENDPOINT if it is set"
        ) from None
    except (httpx2.HTTPError, ConnectionError) as error:
        raise UserError(
            f"the connection to the Hub failed while getting {repo} ({one_line(error)[:200]}); {again}"
        ) from None
    except OSError as error:
        # An error of this machine, such as a full disk, has an errno; those that the clients raise have none.
        if error.errno is not None:
            raise
        raise UserError(f"{repo} could not be downloaded ({one_line(error)[:300]}); {again}") from None


def resolve(uri: str, datasets: bool) -> Repository:
    """The repository that `uri` names, at the commit that its revision points to now."""
    match = parse_uri(uri, datasets)
    with hub_errors(match["repo"]):
        info = HfApi().repo_info(
            match["repo"],
            revision=match["revision"],
            repo_type="dataset" if datasets else "model",
            timeout=constants.HF_HUB_ETAG_TIMEOUT,  # without a timeout it would wait forever for a silent server
        )
        if not isinstance(info.sha, str):
            raise UserError(f"{match['repo']} cannot be read: the Hub named no commit; check HF_ENDPOINT if it is set")
    return Repository(match["repo"], info.sha, match["config"])


def dataset_batches(
    repository: Repository, columns: list[str], list_column: str | None = None
) -> dict[str, Iterator[dict[str, list[str | None]]]]:
    """Batches of the named columns for each split, in the form of `finetune.sources.tables.read_batches`.

    Class labels become their names; -1, the Hub's mark for "no label", becomes None. Raises UserError when a column is
    missing or holds neither text nor labels, or when there is no split train.
    """
    splits = dataset_splits(repository)
    wanted = {name: splits[name] for name in SPLITS_READ if name in splits}
    if "train" not in wanted:
        raise UserError(f"{repository.repo} has no split train; its splits are {', '.join(splits)}")
    for split in wanted.values():
        for column in columns:
            if column not in split.column_names:
                raise UserError(
                    f"{repository.repo} has no column {column!r}; its columns are {', '.join(split.column_names)}"
                )
            if column != list_column and not isinstance(split.features[column], Value | ClassLabel):
                raise UserError(
                    f"{repository.repo}: the column {column!r} must hold text or labels, found {split.features[column]}"
                )
    return {name: text_batches(split, columns, list_column) for name, split in wanted.items()}


def dataset_splits(repository: Repository) -> DatasetDict:
    """Every split of a data set, from the cache of `datasets` if it has this commit."""
    with hub_errors(repository.repo):
        try:
            # Without hf:// in front, `datasets` would prefer a local folder of this name.
            builder = load_dataset_builder(
                f"hf://datasets/{repository.repo}", repository.config, revision=repository.commit
            )
        except RuntimeError as error:
            raise UserError(
                f"{repository.repo} cannot be read: {one_line(error)}; try @refs/convert/parquet as its revision"
            ) from None
        except ValueError as error:
            config = "; name a configuration after # in the uri" if "onfig" in str(error) else ""
            raise UserError(f"{repository.repo} cannot be read: {one_line(error)[:300]}{config}") from None
        if builder.name == "cache" or builder.hash != repository.commit:
            # If it cannot download this commit, `datasets` silently falls back to any commit and configuration in its cache.
            raise UserError(
                f"{repository.repo} could not be downloaded at commit {repository.commit[:12]}; "
                "check the network and run `dvc repro` again"
            )
        builder.download_and_prepare()
        return builder.as_dataset()


def text_batches(split, columns: list[str], list_column: str | None = None) -> Iterator[dict[str, list[str | None]]]:
    """Batches of a `datasets.Dataset` with every value as text, the same as from its Parquet files on this disk."""
    for batch in split.select_columns(columns).with_format("arrow").iter(BATCH):
        yield {
            column: (list_texts if column == list_column else column_texts)(
                batch.column(column).combine_chunks(), class_names(batch.schema, column), f"the column {column!r}"
            )
            for column in columns
        }


def model_snapshot(repository: Repository) -> Path:
    """Folder with the needed files of a model at its commit, from the Hub client's cache if they are there.

    Raises UserError for a model with custom code before it downloads any weights.
    """
    with hub_errors(repository.repo):
        settings = snapshot_download(repository.repo, revision=repository.commit, allow_patterns=list(RUNS_CODE))
        refuse_code(Path(settings), repository.repo)
        folder = Path(snapshot_download(repository.repo, revision=repository.commit, allow_patterns=list(NEEDED)))
        if not weight_files(folder):
            snapshot_download(repository.repo, revision=repository.commit, allow_patterns=PICKLED)
    return folder
