"""Certificates and keys given as a path, as PEM text or as base64 of PEM: recognised, read and checked once.

In: a setting's name and its text.  Out: PEM text, so that a worker never needs to read the file (it may no longer be
allowed to).  Raises Invalid with Kong's "failed loading" messages; a key's content is never repeated in a message.
Uses the ssl module, not the cryptography library: workers load settings too, and stay small.
Cold. Source: Kong 3.9 conf_loader/parse.lua (order: an existing file, else base64 when it decodes, else the text).
"""

import base64
import binascii
import os
import ssl
from pathlib import Path

from kongdp.settings.kinds import Invalid, Kind, listed, optional

FFDHE2048 = "ffdhe2048"  # in ssl_dhparam: the group of RFC 7919
SYSTEM = "system"  # in lua_ssl_trusted_certificate: the system's own store
_SHOWN_CHARS_MAX = 200


def read_pem(text: str) -> str:
    """PEM text behind `text`: the file's content, decoded base64, or `text` itself. Raises OSError for an unreadable
    file.
    """
    if "\n" not in text and _is_file(text):
        return Path(text).read_text(encoding="ascii", errors="replace")
    if "-----BEGIN" in text:
        return text
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True)
        return decoded.decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return text


def load_certificate(name: str, text: str) -> str:
    """One certificate or a chain, as PEM text."""
    try:
        pem = read_pem(text)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (OSError, ValueError) as error:
        raise Invalid(f"{name}: failed loading certificate from {_shown(text)}{_reason(error)}") from None
    return pem


def load_key(name: str, text: str) -> str:
    """A private key, as PEM text. Whether it fits its certificate is checked by `check_pair`."""
    try:
        pem = read_pem(text)
    except OSError as error:
        raise Invalid(f"{name}: failed loading key from {_shown_key(text)}{_reason(error)}") from None
    if "PRIVATE KEY-----" not in pem or "ENCRYPTED" in pem:
        why = " (it is encrypted)" if "ENCRYPTED" in pem else ""
        raise Invalid(f"{name}: failed loading key from {_shown_key(text)}{why}")
    return pem


def load_dh_parameters(name: str, text: str) -> str:
    """Diffie-Hellman parameters as PEM text, or the name of the group that Kong knows by name."""
    if text == FFDHE2048:
        return text
    try:
        pem = read_pem(text)
    except OSError as error:
        raise Invalid(f"{name}: failed loading parameters from {_shown(text)}{_reason(error)}") from None
    if "-----BEGIN DH PARAMETERS-----" not in pem:
        raise Invalid(f"{name}: failed loading parameters from {_shown(text)} (a path, PEM, base64 or {FFDHE2048})")
    return pem


def check_pair(certificate_name: str, certificate: str, key_name: str, key: str) -> str | None:
    """A problem when the key cannot be read or belongs to another certificate; None when the pair is good.

    The ssl module loads pairs only from files; these are memory files that vanish with the call.
    """
    certificate_fd, key_fd = os.memfd_create("certificate"), os.memfd_create("key")
    try:
        os.write(certificate_fd, certificate.encode())
        os.write(key_fd, key.encode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Without a password callback OpenSSL would ask on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{certificate_fd}", f"/proc/self/fd/{key_fd}", password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            return f"{key_name} does not belong to {certificate_name}"
        return f"{key_name}: failed loading key from the given text or file{_reason(error)}"
    finally:
        os.close(certificate_fd)
        os.close(key_fd)
    return None


def _load_trusted(name: str, item: str) -> str:
    return SYSTEM if item == SYSTEM else load_certificate(name, item)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a path, or a NUL in it: then it is no path
        return False


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}..."


def _shown_key(text: str) -> str:
    is_path = "\n" not in text and (text.startswith(("/", "./", "../")) or _is_file(text)) and len(text) < 256
    return text if is_path else "the given text"


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f" ({error.reason})" if error.reason else ""
    if isinstance(error, OSError):
        return f" ({error.strerror})"
    return ""


CERTIFICATE: Kind[str | None] = optional(Kind("path, PEM or base64", load_certificate, str))
CERTIFICATES: Kind[tuple[str, ...]] = listed("list of path, PEM or base64", load_certificate)
KEY: Kind[str | None] = optional(Kind("path, PEM or base64", load_key, str))
KEYS: Kind[tuple[str, ...]] = listed("list of path, PEM or base64", load_key)
TRUSTED_CERTIFICATES: Kind[tuple[str, ...]] = listed("list of system, path, PEM or base64", _load_trusted)
DH_PARAMETERS: Kind[str | None] = optional(Kind("path, PEM, base64 or ffdhe2048", load_dh_parameters, str))
