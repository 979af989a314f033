"""What the gate negotiates, towards clients and hosts alike.

No SHA-1, no CBC, no group below 2048 bits, no ssh-rsa or DSA signatures, no compression (its size
tells of what is in it). ChaCha20-Poly1305 and encrypt-then-MAC are left out with it: together with
a peer that does not know strict key exchange they can be robbed of their first packets (Terrapin,
CVE-2023-48795), which AES-GCM cannot.
"""

from collections.abc import Mapping
from typing import Any, Final

from asyncssh.kex import get_kex_algs

_WANTED_KEX: Final = (
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
)
# The post-quantum ones are there where liboqs is.
KEX: Final = tuple(name for name in _WANTED_KEX if name.encode() in get_kex_algs())
ENCRYPTION: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr", "aes128-ctr")
MAC: Final = ("hmac-sha2-256", "hmac-sha2-512")
SIGNATURES: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)

# What asyncssh is given, as a server and as a client.
OPTIONS: Final[Mapping[str, Any]] = {
    "kex_algs": KEX,
    "encryption_algs": ENCRYPTION,
    "mac_algs": MAC,
    "signature_algs": SIGNATURES,
    "compression_algs": None,
}
