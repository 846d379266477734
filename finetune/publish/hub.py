"""Publishes to a Hugging Face Hub repository in one commit, so that readers see all of the model or nothing."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetune.base.errors import MALFORMED, UserError, one_line
from finetune.publish.record import REPLACEABLE, SUMS, checksum, modification, record_of, recorded, relative_files
from finetune.sources.hub import URI, parse_uri

KEPT = ".gitattributes"  # written by the Hub; lists the large files


def publish(export: Path, destination: tuple[str, str | None], private: bool = False) -> str:
    """Commits the exported folder and its record, deletes files no longer in it, and returns a line that says where it is.

    Raises UserError if the repository or branch holds anything else than an unmodified earlier publication.
    `destination` is a repository, and a branch or None. If either does not exist, it is created first, and it stays if the
    commit then fails: somebody may already use it. Endpoint and token come from the usual settings of a Hub client:
    HF_ENDPOINT, HF_TOKEN, `hf auth login`.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard

    repo, branch = destination
    files = relative_files(export)
    api, card = HfApi(), ModelCard.load(export / "README.md")
    record = record_of({name: checksum(export / name) for name in files})
    created = []
    with reported_if_created(created), hub_errors(repo):
        # Before anything is created. `create_commit` validates too, but would then leave a new repository empty.
        validate(card)
        if not api.repo_exists(repo):
            api.create_repo(repo, private=private or None, exist_ok=True)
            created.append(f"the repository {repo}")
        if branch and not api.revision_exists(repo, branch):
            api.create_branch(repo, branch=branch, exist_ok=True)
            created.append(f"the branch {branch}")
        head = api.model_info(repo, revision=branch, files_metadata=True)
        # A branch without commits of its own holds nothing that main does not keep.
        if not branch or head.sha != api.model_info(repo).sha:
            check_unmodified(api, repo, head)
        removed = {sibling.rfilename for sibling in head.siblings} - {*files, KEPT, SUMS}
        # Not `upload_folder`: with hf_xet installed it makes several commits, and early readers would get only a part.
        commit = api.create_commit(
            repo,
            [
                *(CommitOperationDelete(path_in_repo=name) for name in sorted(removed)),
                *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=export / name) for name in files),
                CommitOperationAdd(path_in_repo=SUMS, path_or_fileobj=record),
            ],
            commit_message=f"Publish {card.data.model_name}",
            revision=branch,
            parent_commit=head.sha,  # fails rather than undo a push by somebody else in the meantime
        )
    return f"published to {commit.commit_url}"


def parse_destination(uri: str) -> tuple[str, str | None]:
    """OWNER/NAME and branch (or None) of a Hub address; raises UserError if it is not a model's."""
    match = URI.match(uri)
    if match and match["config"]:
        raise UserError(f"{uri} must have the form hf://OWNER/NAME@BRANCH (the branch may be left out)")
    match = parse_uri(uri, datasets=False)
    return match["repo"], match["revision"]


def check_unmodified(api, repo: str, head):
    """Raises UserError unless a commit holds nothing, or an unmodified publication by its record.

    `head` is huggingface_hub's ModelInfo with the metadata of the files. The Hub knows the SHA-256 of large files; small ones
    on the record are downloaded to compute it.
    """
    siblings = {sibling.rfilename: sibling for sibling in head.siblings if sibling.rfilename != KEPT}
    with tempfile.TemporaryDirectory() as cache:

        def downloaded(name: str) -> Path:
            return Path(api.hf_hub_download(repo, name, revision=head.sha, cache_dir=cache))

        small = SUMS in siblings and not siblings[SUMS].lfs
        sums = recorded(downloaded(SUMS).read_bytes()) if small else {}
        digests = dict.fromkeys(siblings)
        if not siblings.keys() - sums.keys() - {SUMS}:  # otherwise it is foreign, and nothing is downloaded
            for name in siblings.keys() & sums.keys():
                large = siblings[name].lfs
                digests[name] = large.sha256 if large else checksum(downloaded(name))
        what = modification(sums, digests)
    if what:
        raise UserError(
            f"hf://{repo} {what}; choose a repository or a branch that {REPLACEABLE}, or delete those files there yourself"
        )


@contextmanager
def reported_if_created(created: list[str]) -> Iterator[None]:
    """Adds to a UserError of the block what has been created on the Hub so far."""
    try:
        yield
    except UserError as error:
        if not created:
            raise
        raise UserError(f"{error} ({' and '.join(created)} was created and remains, without the model)") from None


def validate(card):
    """Raises UserError if the Hub's validator rejects the card."""
    try:
        card.validate()
    except ValueError as error:
        raise UserError(
            f"the Hub does not accept the model card ({one_line(error)[:300]}); fix `export` in params.yaml and run `dvc repro`"
        ) from None


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Turns errors of the Hub client inside the block into a one-line UserError."""
    import httpx2
    from huggingface_hub import errors

    token = f"a token that may write to {repo} is needed: `hf auth login`, or HF_TOKEN"
    try:
        yield
    except errors.HFValidationError as error:
        raise UserError(f"hf://{repo} is not a valid repository name: {one_line(error)[:200]}") from None
    except errors.OfflineModeIsEnabled:
        raise UserError(f"HF_HUB_OFFLINE is set, so {repo} cannot be written; unset it and publish again") from None
    except (errors.HfHubHTTPError, RuntimeError) as error:
        refusal = error if isinstance(error, errors.HfHubHTTPError) else error.__cause__
        if not isinstance(refusal, errors.HfHubHTTPError):
            # The upload of large files wraps every error in a RuntimeError.
            raise UserError(unreachable(repo, refusal or error)) from None
        status = refusal.response.status_code
        reason = f" ({' '.join(refusal.server_message.split())[:200]})" if refusal.server_message else ""
        advice = {
            401: token,
            403: token,
            404: f"{token}; or fix the name",
            409: "somebody else is changing the repository; publish again",
            412: "somebody else changed the repository in the meantime; look at it and publish again",
        }.get(status, "publish again later")
        raise UserError(f"the Hub refused {repo} with status {status}{reason}; {advice}") from None
    except errors.LocalTokenNotFoundError:
        raise UserError(token[0].upper() + token[1:]) from None
    except (httpx2.HTTPError, ConnectionError) as error:
        raise UserError(unreachable(repo, error)) from None
    except (*MALFORMED, httpx2.InvalidURL) as error:
        raise UserError(
            f"the Hub's answer about {repo} cannot be read ({type(error).__name__}: {one_line(error)[:200]}); check HF_ENDPOINT "
            "if it is set, and publish again"
        ) from None


def unreachable(repo: str, error: Exception) -> str:
    """One line about a failed connection."""
    return (
        f"the connection to the Hub failed while writing {repo} ({one_line(error)[:200]}); its files are unchanged: "
        "check the network and publish again"
    )
