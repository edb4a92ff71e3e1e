"""The browser that tests open pages in."""

import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def installed_browser() -> str | None:
    """The first browser on PATH."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture
def browser() -> str:
    """The browser on PATH; the test is skipped where there is none."""
    path = installed_browser()
    if path is None:
        pytest.skip(f"no browser on PATH to open the page in: none of {', '.join(BROWSERS)}")
    return path
