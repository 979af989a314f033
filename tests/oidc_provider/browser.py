"""Stands in for a person's browser: `python -m tests.oidc_provider.browser WHO ISSUER URL`.

The command line opens it by the environment's BROWSER, as it would open any other.
"""

import subprocess
import sys
import urllib.error
import urllib.request
from typing import cast

from tests.oidc_provider.running import RealProvider
from tests.patience import PATIENCE_S


def main() -> None:
    who, issuer, url = sys.argv[1:]
    provider = RealProvider(issuer, cast("subprocess.Popen[str]", None))
    # A page elsewhere that guesses at the address ends nothing.
    target = provider.come_back(url, who)
    base = target.partition("?")[0]
    for stray in (f"{base}?code=evil&state=guessed", base.replace("/callback", "/favicon.ico")):
        try:
            urllib.request.urlopen(stray, timeout=PATIENCE_S).close()
        except urllib.error.HTTPError as error:
            error.close()
    urllib.request.urlopen(target, timeout=PATIENCE_S).close()


if __name__ == "__main__":
    main()
