"""Values of every kind, for tests. Keys are put together here so that no scanner takes them for
real ones."""

import base64
import json

PUBLISHED_CARDS = (
    "4111111111111111", "4012888888881881", "4222222222222", "5555555555554444",
    "5105105105105100", "2223003122003222", "378282246310005", "371449635398431",
    "6011111111111117", "30569309025904", "38520000023237", "3530111333300000",
    "6304000000000000", "5019717010103742",
)  # fmt: skip
PUBLISHED_IBANS = (
    "DE89370400440532013000", "GB82WEST12345698765432", "FR1420041010050500013M02606",
    "NO9386011117947", "MT84MALT011000012345MTLCAST001S", "CH9300762011623852957",
    "NL91ABNA0417164300", "SA0380000000608010167519",
)  # fmt: skip


def _part(fields: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


JWT = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part({'sub': '42'})}.{'s' * 43}"
UNSIGNED_JWT = f"{_part({'alg': 'none'})}.{_part({'sub': '42'})}."
_BEGIN, _END = "-----BEGIN ", "-----END "
PEM = f"{_BEGIN}RSA PRIVATE KEY-----\nMIIEowIBAAKC\nAQEAxyz+/==\n{_END}RSA PRIVATE KEY-----"
OPENSSH = "b3BlbnNzaC1r" + "ZXktdjEAAAAABG5vbmUAAAAEbm9uZQ=="
CLOUD_KEYS = (
    "AKIA" + "IOSFODNN7EXAMPLE"[:16],
    "ASIA" + "IOSFODNN7EXAMPLE"[:16],
    "AIza" + "Sy" + "a1B2c3D4-" * 3 + "abcdef",
    "gh" + "p_" + "a1B2" * 9,
    "github" + "_pat_" + "a1B2c3D4e5_" * 6,
    "gl" + "pat-" + "a1B2c3D4e5F6g7H8i9J0",
    "xo" + "xb-" + "123456789012-abcdefABCDEF",
    "sk" + "_live_" + "a1B2c3D4e5F6g7H8",
    "rk" + "_test_" + "a1B2c3D4e5F6g7H8",
    "a1B2" * 21 + "c3" + "==",
)  # fmt: skip

# One value of each kind that keeps no part of itself under any transform but partial.
SECRETS = {
    "credit_card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "us_ssn": "219-09-9999",
    "email": "jane.doe@example.com",
    "phone": "+49 30 901820",
    "ipv4": "203.0.113.77",
    "ipv6": "2001:db8:85a3::8a2e:370:7334",
    "jwt": JWT,
    "private_key": PEM,
    "cloud_key": CLOUD_KEYS[0],
}
