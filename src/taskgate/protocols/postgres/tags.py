"""The first byte of every message: PostgreSQL documentation, "Message Formats".

The same byte means different things in the two directions; the names here do not repeat.
"""

from typing import Final

# Frontend (client to server).
QUERY: Final = 0x51  # Q
PARSE: Final = 0x50  # P
BIND: Final = 0x42  # B
DESCRIBE: Final = 0x44  # D
EXECUTE: Final = 0x45  # E
CLOSE: Final = 0x43  # C
FLUSH: Final = 0x48  # H
SYNC: Final = 0x53  # S
FUNCTION_CALL: Final = 0x46  # F
COPY_FAIL: Final = 0x66  # f
TERMINATE: Final = 0x58  # X
PASSWORD: Final = 0x70  # p, also SASLInitialResponse and SASLResponse

# Both directions.
COPY_DATA: Final = 0x64  # d
COPY_DONE: Final = 0x63  # c

# Backend (server to client).
AUTHENTICATION: Final = 0x52  # R
PARAMETER_STATUS: Final = 0x53  # S
BACKEND_KEY_DATA: Final = 0x4B  # K
READY_FOR_QUERY: Final = 0x5A  # Z
ROW_DESCRIPTION: Final = 0x54  # T
DATA_ROW: Final = 0x44  # D
COMMAND_COMPLETE: Final = 0x43  # C
EMPTY_QUERY_RESPONSE: Final = 0x49  # I
PARSE_COMPLETE: Final = 0x31  # 1
BIND_COMPLETE: Final = 0x32  # 2
CLOSE_COMPLETE: Final = 0x33  # 3
NO_DATA: Final = 0x6E  # n
PORTAL_SUSPENDED: Final = 0x73  # s
PARAMETER_DESCRIPTION: Final = 0x74  # t
ERROR_RESPONSE: Final = 0x45  # E
NOTICE_RESPONSE: Final = 0x4E  # N
NOTIFICATION_RESPONSE: Final = 0x41  # A
COPY_IN_RESPONSE: Final = 0x47  # G
COPY_OUT_RESPONSE: Final = 0x48  # H
COPY_BOTH_RESPONSE: Final = 0x57  # W
FUNCTION_CALL_RESPONSE: Final = 0x56  # V
NEGOTIATE_PROTOCOL_VERSION: Final = 0x76  # v
