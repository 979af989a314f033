"""A listener's certificate, as the configuration names it: files, or the gateway's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from taskgate.gateway.certificates import ServerCertificate, own_certificate
from taskgate.gateway.config import Config, TlsFiles
from taskgate.gateway.tls import ListenerTls
from taskgate.model.errors import BadConfig


def listener_tls(
    config: Config, files: TlsFiles | Literal["auto"], now: float, alpn: tuple[str, ...] = ()
) -> ListenerTls:
    """The context that follows the certificate. `now` in seconds since the epoch.

    Raises: BadConfig.
    """
    if isinstance(files, TlsFiles):
        given = ServerCertificate(files.cert, files.key, _trust(files.ca))
        return ListenerTls(lambda _now: given, now, alpn)
    return ListenerTls(
        lambda moment: own_certificate(config.state_dir, config.host_names, moment), now, alpn
    )


def _trust(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"cannot read the authority {path}: {error}") from None
