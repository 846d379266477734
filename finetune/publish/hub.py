"""The exported model in a repository of the Hugging Face Hub: one commit, so that a reader sees all of it or none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetune.base.errors import UserError, one_line
from finetune.publish.folder import relative_files
from finetune.sources.hub import URI, parse_uri

KEPT = ".gitattributes"  # the Hub's own; says which files are large


def publish(export: Path, destination: tuple[str, str | None], private: bool = False) -> str:
    """Commits the exported folder, takes out files that are no longer part of it, and says where it is now.

    A repository or branch (`destination`, with a branch or None) that does not exist is made first, and stays when the commit then
    fails: what somebody may have begun to use is not deleted. Endpoint and token are those of every client of the Hub:
    HF_ENDPOINT, HF_TOKEN, `hf auth login`.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard

    repo, branch = destination
    names = relative_files(export)
    api, card = HfApi(), ModelCard.load(export / "README.md")
    made = []
    with told_what_was_made(made), hub_errors(repo):
        # Before anything is made there. `create_commit` asks too, but then a new repository would be left empty.
        validate(card)
        if not api.repo_exists(repo):
            api.create_repo(repo, private=private or None, exist_ok=True)
            made.append(f"the repository {repo}")
        if branch and not api.revision_exists(repo, branch):
            api.create_branch(repo, branch=branch, exist_ok=True)
            made.append(f"the branch {branch}")
        head = api.model_info(repo, revision=branch)
        gone = {sibling.rfilename for sibling in head.siblings} - {*names, KEPT}
        # Not `upload_folder`: where hf_xet is installed it makes several commits, and the first readers get a part.
        commit = api.create_commit(
            repo,
            [
                *(CommitOperationDelete(path_in_repo=name) for name in sorted(gone)),
                *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=export / name) for name in names),
            ],
            commit_message=f"Publish {card.data.model_name}",
            revision=branch,
            parent_commit=head.sha,  # what somebody else pushed meanwhile is not undone
        )
    return f"published to {commit.commit_url}"


def parse_destination(uri: str) -> tuple[str, str | None]:
    """OWNER/NAME and branch that a Hub name stands for; raises UserError when it is none of a model."""
    match = URI.match(uri)
    if match and match["config"]:
        raise UserError(f"{uri} must have the form hf://OWNER/NAME@BRANCH (the branch may be left out)")
    match = parse_uri(uri, datasets=False)
    return match["repo"], match["revision"]


@contextmanager
def told_what_was_made(made: list[str]) -> Iterator[None]:
    """Block whose UserError also names what was made on the Hub until then."""
    try:
        yield
    except UserError as error:
        if not made:
            raise
        raise UserError(f"{error} ({' and '.join(made)} had been made by then and stays, without the model)") from None


def validate(card):
    """Raises UserError when the Hub's own validator does not take the card."""
    try:
        card.validate()
    except ValueError as error:
        raise UserError(
            f"the Hub does not accept the model card ({one_line(error)[:300]}); mend `export` in params.yaml and run `dvc repro`"
        ) from None


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Errors of the Hub's client inside the block, told as UserError in one line."""
    import httpx2
    from huggingface_hub import errors

    token = f"a token that may write to {repo} is needed: `hf auth login`, or HF_TOKEN"
    try:
        yield
    except errors.HFValidationError as error:
        raise UserError(f"hf://{repo} is no name for a repository: {one_line(error)[:200]}") from None
    except errors.OfflineModeIsEnabled:
        raise UserError(f"HF_HUB_OFFLINE is set, so {repo} cannot be written; unset it and publish again") from None
    except (errors.HfHubHTTPError, RuntimeError) as error:
        refusal = error if isinstance(error, errors.HfHubHTTPError) else error.__cause__
        if not isinstance(refusal, errors.HfHubHTTPError):
            # What sends large files tells all that goes wrong as RuntimeError.
            raise UserError(unreachable(repo, refusal or error)) from None
        status = refusal.response.status_code
        told = f" ({' '.join(refusal.server_message.split())[:200]})" if refusal.server_message else ""
        advice = {
            401: token,
            403: token,
            404: f"{token}; or mend the name",
            409: "somebody else changes the repository just now, publish again",
            412: "somebody else changed the repository meanwhile, look at it and publish again",
        }.get(status, "publish again later")
        raise UserError(f"the Hub refused {repo} with status {status}{told}; {advice}") from None
    except errors.LocalTokenNotFoundError:
        raise UserError(token[0].upper() + token[1:]) from None
    except (httpx2.HTTPError, ConnectionError) as error:
        raise UserError(unreachable(repo, error)) from None


def unreachable(repo: str, error: Exception) -> str:
    """One line about a connection that failed."""
    return (
        f"the connection to the Hub failed while writing {repo} ({one_line(error)[:200]}); its files are as they were: "
        "check the network and publish again"
    )
