"""Pictures by address: fetched within limits, from public servers alone."""

import ipaddress
import socket
import time
from urllib.parse import urljoin, urlsplit

from transformers.image_utils import httpx  # huggingface_hub's HTTP client: httpx, or httpx2 since its version 2

MAX_BYTES = 20 * 1024 * 1024
SECONDS_PER_ANSWER = 10
SECONDS = 30
MAX_REDIRECTS = 5
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_address(image: object) -> bool:
    """Tell whether a post's picture is an address on the web."""
    return isinstance(image, str) and image.lower().startswith(("http://", "https://"))


def fetch_image(url: str) -> bytes:
    """Fetch a picture.

    Args:
        url: its address. Whatever the address leads to must be public: loopback, private and link-local addresses are
            refused, also where a redirection leads to them.

    Returns:
        The bytes of the file, which may be no picture.

    Raises:
        ValueError: the address is not public, does not answer in `SECONDS`, answers with an error, with more than
            `MAX_BYTES`, or with more than `MAX_REDIRECTS` redirections.
    """
    end, here = time.monotonic() + SECONDS, url
    try:
        with httpx.Client(timeout=SECONDS_PER_ANSWER, follow_redirects=False, trust_env=True) as client:
            for _ in range(MAX_REDIRECTS + 1):
                check_public(here)
                with client.stream("GET", here) as response:
                    if response.is_redirect:
                        here = urljoin(here, response.headers["location"])
                        continue
                    response.raise_for_status()
                    return _read(response, end)
            raise ValueError(f"more than {MAX_REDIRECTS} redirections")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        raise ValueError(f"The image {url!r} cannot be fetched: {error or repr(error)}") from error


def _read(response, end: float) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        if time.monotonic() > end:
            raise ValueError(f"not complete after {SECONDS} seconds")
    return bytes(content)


def check_public(url: str) -> None:
    """Raise `ValueError` unless an address leads to a public server by HTTP or HTTPS."""
    parts = urlsplit(url)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address of the web")
    port = parts.port or {"http": 80, "https": 443}[parts.scheme.lower()]
    for *_, place in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM):
        address = ipaddress.ip_address(place[0].split("%")[0])
        address = embedded_address(address) or address
        if not address.is_global:
            raise ValueError(f"{parts.hostname!r} is {address}, which is not public: fetch the picture yourself")


def embedded_address(address: IPAddress) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for, if it is one of a translation: mapped, NAT64, 6to4."""
    if address.version == 4:
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


__all__ = ["fetch_image", "is_address"]
