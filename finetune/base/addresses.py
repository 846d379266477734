"""Addresses that must hold no password, token or signature. Only the standard library: an exported folder's commands read it too."""

import re
from urllib.parse import unquote, urlsplit

# Names of query parameters that sign a request or hold a key, at Amazon, Google, Azure and in general.
SECRET = re.compile(
    r"signature|credential|token|secret|password|passwd|^sig$|^auth|^(api|access)?[-_]?key(id)?$|accesskeyid", re.I
)
# fsspec reads an address as a chain, `zip://x.csv::https://example.com/x.zip`, in which each part may bring a password.
CHAIN = re.compile(r"::(?=[a-z][a-z0-9+.-]*:/)", re.I)
# `user:password@` at the start of an address, with however many slashes, and in each part of a name that has no colon otherwise;
# a token of the Hub in the place of a user.
PASSWORD = re.compile(r"^[a-z][a-z0-9+.-]+:/*[^/@:]*:[^/@]+@|^(?:hf|pkg):.*/[^/@:]*:[^/@]+@|^hf:.*/hf_\w+@", re.I)
# Schemes of hosts and buckets before whose `@` only a key or a token can stand.
WITHOUT_USERS = ("http", "https", "s3", "s3a", "gs", "gcs")


def secret_refusal(what: str, elsewhere: str) -> str:
    """The line for an address that holds a secret; `elsewhere` names where to put it, such as a variable."""
    return f"{what} must not hold a password, token or signature; put them into {elsewhere}"


def brings_secret(address: str) -> bool:
    """Whether one address holds a password, a token or a signature; raises ValueError if it is no address."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise ValueError(f"must be an address: {error}") from None
    user = parts.scheme in WITHOUT_USERS and "@" in parts.netloc
    # `?name=value`, and the older `;name=value`; a fragment holds the answer of some log-ins.
    named = re.findall(r"[?&;#]([^=?&;#/]+)=", unquote(address)) if parts.scheme else []
    return user or bool(parts.password or PASSWORD.match(address) or any(map(SECRET.search, named)))
