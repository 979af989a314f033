"""A browser of a person's own, that keeps its cookies: for the console, and for signing out."""

import re
import ssl
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from types import TracebackType
from urllib.parse import urljoin

import httpx

from tests.patience import PATIENCE_S

_ONWARD = re.compile(r'http-equiv="refresh" content="0;url=([^"]*)"')
_ACTION = re.compile(r'<form[^>]*action="([^"]*)"')
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)"')


@dataclass(slots=True)
class Window:
    """Follows redirections and pages that go on by themselves, as a browser does."""

    issuer: str
    client: httpx.Client
    seen: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, issuer: str, ca_file: Path) -> "Window":
        trusting = ssl.create_default_context(cafile=str(ca_file))
        return cls(issuer, httpx.Client(verify=trusting, trust_env=False, timeout=PATIENCE_S))

    def __enter__(self) -> "Window":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()

    def be(self, who: str) -> None:
        """Whoever sits here is `who` to the provider."""
        self.client.get(f"{self.issuer}/sign-in", params={"login": who})

    def go(self, url: str) -> httpx.Response:
        return self._onward(self._get(url))

    def submit(self, page: httpx.Response, index: int = 0, **more: str) -> httpx.Response:
        """Sends one of the page's forms."""
        target = urljoin(str(page.url), unescape(_ACTION.findall(page.text)[index]))
        form = page.text.split("<form")[index + 1].split("</form>")[0]
        data = dict(_HIDDEN.findall(form)) | more
        return self._onward(self.client.post(target, data=data))

    def _get(self, url: str) -> httpx.Response:
        self.seen.append(url)
        return self.client.get(url)

    def _onward(self, answer: httpx.Response) -> httpx.Response:
        for _ in range(20):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
            elif further := _ONWARD.search(answer.text):
                target = urljoin(str(answer.url), unescape(further[1]))
            else:
                break
            answer = self._get(target)
        return answer
