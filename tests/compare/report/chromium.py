"""Chromium as the tests of the report drive it: sizes, schemes, mouse, keyboard, and what Plotly has drawn."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="chromium or chromedriver is not installed (Debian: apt-get install chromium-driver)",
)
WIDE, PHONE = (1280, 900), (360, 740)


def open_page(browser: Chrome, address: str) -> None:
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(address)
    wait(browser, "return document.documentElement.dataset.drawn === 'yes'")


def assert_silent(browser: Chrome) -> None:
    assert browser.get_log("browser") == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in asked if event["method"] == "Network.requestWillBeSent"]
    assert any(url.startswith("file:") for url in urls), "the log tells of the page itself"
    assert [url for url in urls if not url.startswith(("file:", "data:", "blob:"))] == []


def emulate(
    browser: Chrome, size: tuple[int, int] = WIDE, dark: bool = False, still: bool = False, media: str = ""
) -> None:
    width, height = size
    sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    features = [
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
        {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def run(browser: Chrome, script: str, *arguments: Any) -> Any:
    return browser.execute_script(script, *arguments)  # type: ignore[no-untyped-call]


def wait(browser: Chrome, script: str) -> None:
    WebDriverWait(browser, 20).until(lambda driver: run(driver, script))


def by_id(browser: Chrome, name: str) -> WebElement:
    return browser.find_element(By.ID, name)


def into_view(browser: Chrome, element: WebElement) -> WebElement:
    run(browser, "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    return element


def choose(browser: Chrome, name: str, value: str) -> None:
    Select(into_view(browser, by_id(browser, name))).select_by_value(value)


def chart(browser: Chrome, name: str) -> dict[str, Any]:
    """What Plotly has drawn: its traces and the axes as they are."""
    script = """
        const box = document.getElementById("plot-" + arguments[0]), full = box._fullLayout;
        const axis = (one) => ({type: one.type, title: one.title.text, range: one.range});
        const traces = box.data.map((t) => ({meta: t.meta, x: t.x, y: t.y, mode: t.mode, color: (t.line || {}).color,
                                             symbol: t.marker && t.marker.symbol}));
        return {traces, x: axis(full.xaxis), y: axis(full.yaxis), ink: full.font.color, width: full.width,
                dotted: full.shapes.map((s) => [s.y0, s.line.dash])};
    """
    value = run(browser, script, name)
    assert isinstance(value, dict)
    return value


def kinds(drawn: dict[str, Any]) -> list[str]:
    return [trace["meta"] for trace in drawn["traces"]]


def caption(browser: Chrome, name: str) -> str:
    text = by_id(browser, f"caption-{name}").text
    assert by_id(browser, f"plot-{name}").get_attribute("aria-label") == text
    return text


def hover(page: Chrome, name: str, trace: int, point: int, begins: str) -> str:
    """Moves the mouse onto a point, waits until a text with `begins` is shown there, and gives it whole."""
    script = """
        const box = document.getElementById("plot-" + arguments[0]), full = box._fullLayout;
        const trace = box._fullData[arguments[1]], area = box.getBoundingClientRect();
        return [area.left + full.xaxis._offset + full.xaxis.d2p(trace.x[arguments[2]]),
                area.top + full.yaxis._offset + full.yaxis.d2p(trace.y[arguments[2]])];
    """
    into_view(page, by_id(page, f"plot-{name}"))
    x, y = run(page, script, name, trace, point)
    for shift in (-40, 0):  # two moves, as a single one may land before the page listens
        mouse = ActionChains(page)
        mouse.w3c_actions.pointer_action.move_to_location(round(x) + shift, round(y) + shift)
        mouse.perform()
    shown = f"return (document.querySelector('#plot-{name} .hoverlayer .hovertext') || {{}}).textContent || ''"
    WebDriverWait(page, 10).until(lambda driver: begins in run(driver, shown), begins)
    return str(run(page, shown))


def tab_to(page: Chrome, wanted: Callable[[WebElement], bool], most: int = 200) -> WebElement:
    for _ in range(most):
        ActionChains(page).send_keys(Keys.TAB).perform()
        focused = page.switch_to.active_element
        if wanted(focused):
            outline = focused.value_of_css_property("outline-style")
            assert outline == "solid", "the focus can be seen"
            return focused
    raise AssertionError("not reached by Tab")


def press(page: Chrome, *keys: str) -> None:
    ActionChains(page).send_keys(*keys).perform()


def background(page: Chrome) -> str:
    return str(run(page, "return getComputedStyle(document.body).backgroundColor"))
