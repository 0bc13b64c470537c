"""What minillm's two servers share: a socket, whose Host is served, how large a body may be."""

import ipaddress
import socket


class TooLarge(Exception):
    """Raised to whoever reads a body that is larger than allowed"""


def listen(host, port):
    """-> a socket that listens; port 0: any free one. Raises OSError if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(64)  # who comes before the server runs waits
    except (OSError, OverflowError):
        listening.close()
        raise
    return listening


def address(host, port):
    """-> the URL, without a path, under which this computer reaches a server"""
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def is_our_host(header, host, port):
    """-> whether a Host header names the server at this host and port, and not another name that
    somebody else's DNS server points here"""
    name, colon, of_header = header.rpartition(":")
    if not colon or of_header != str(port):
        return False
    name = name.strip("[]").lower()
    if name in ("localhost", "127.0.0.1", "::1", host.lower()):
        return True
    if host not in ("0.0.0.0", "::"):
        return False
    # Listening everywhere: an address can't be rebound by a DNS server, a foreign name can.
    return _is_address(name) or name == socket.gethostname().lower()


def _is_address(name):
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def limited(receive, largest):
    """-> ASGI's receive, which raises TooLarge as soon as more than `largest` bytes have come"""
    total = 0

    async def limited_receive():
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > largest:
            raise TooLarge
        return message

    return limited_receive
