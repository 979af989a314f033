"""Stands in for a person's browser: `python -m tests.saml_provider.browser WHO CA URL`.

The command line opens it by the environment's BROWSER, as it would open any other.
"""

import sys
import urllib.request

from tests.patience import PATIENCE_S
from tests.saml_provider.running import Browser


def main() -> None:
    who, ca_file, url = sys.argv[1:]
    browser = Browser(ca_file)
    answer = browser.send(browser.sign_in(url, who))
    target = answer.headers.get("location", "")
    if target.startswith("http://127.0.0.1"):
        urllib.request.urlopen(target, timeout=PATIENCE_S).close()


if __name__ == "__main__":
    main()
