"""The watch that the other tests stand on."""

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import watched
from tests.browser.stub import Stub

SCRIPTS = {
    "inline style": "document.body.setAttribute('style', 'color: red')",
    "inline script": "document.body.append(document.createElement('script')), "
    "document.body.lastChild.text = '1'",
    "markup from text": "document.body.innerHTML = '<p>'",
    "another server": "fetch('http://127.0.0.1:9/')",
    "complaint": "console.warn('something is wrong')",
    "exception": "setTimeout(() => missing())",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_watch_notices(browser: Browser, stub: Stub, path: str, script: str) -> None:
    """What the policy forbids, and whatever the browser complains of, fails a test."""
    with pytest.raises(AssertionError):
        misbehave(browser, stub.url + path, script)


def misbehave(browser: Browser, address: str, script: str) -> None:
    """Run a script in a watched page."""
    with watched(browser, address.rpartition("/")[0], "desktop-light") as page:
        page.goto(address)
        page.evaluate(f"() => {{ try {{ {script} }} catch {{}} }}")
        page.wait_for_timeout(200)
