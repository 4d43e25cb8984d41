"""The page in a real headless Chromium: silent console, no request, tooltips, switches, themes."""

import importlib.util
import json
import shutil
import time

import pytest

DRIVER = shutil.which("chromedriver")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("selenium") is None, reason="selenium is not installed"
    ),
    pytest.mark.skipif(
        DRIVER is None or CHROMIUM is None, reason="chromium and chromedriver are not installed"
    ),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, report):
    """The page, loaded and drawn."""
    resize(browser, 1000)
    browser.get_log("performance")  # of the page before, or of Chromium's own start page
    browser.get_log("browser")
    browser.get(report.page.as_uri())
    wait(browser, "return document.documentElement.dataset.ready === 'true'")
    return browser


def resize(browser, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wait(browser, script, seconds=60):
    """Until the script returns something true."""
    end = time.monotonic() + seconds
    while not (found := browser.execute_script(script)):
        assert time.monotonic() < end, script
        time.sleep(0.1)
    return found


def figure(page, start):
    return page.find_element("css selector", f"figure[id^='fig-{start}']")


def requests(browser):
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def test_every_figure_is_drawn_and_nothing_is_asked_of_the_network(page, report):
    drawn = page.execute_script("return document.querySelectorAll('.chart svg').length")
    charts = page.execute_script("return document.querySelectorAll('.chart').length")
    assert drawn == charts >= 10
    inside = ("data:", "blob:", "chrome:")
    outside = {url for url in requests(page) if not url.startswith(inside)}
    assert outside == {report.page.as_uri()}


def test_the_console_stays_silent_and_no_text_became_code(page):
    assert page.get_log("browser") == []
    assert "owned" not in page.title.split("<")[0]
    assert page.execute_script("return document.querySelectorAll('main img, main b').length") == 0


def test_no_field_of_any_file_becomes_code(browser, hostile_report):
    browser.get_log("browser")
    browser.get(hostile_report.page.as_uri())
    wait(browser, "return document.documentElement.dataset.ready === 'true'")
    assert browser.get_log("browser") == []
    assert "owned" not in browser.title.split("<")[0]
    assert browser.execute_script("return document.querySelectorAll('main img').length") == 0


def test_a_point_tells_its_run(page):
    """A run called "@accent" is called so, and is not a colour."""
    from selenium.webdriver import ActionChains

    place = figure(page, "d-")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", place)
    said = []
    for point in place.find_elements("css selector", "g.mark-symbol.role-mark path"):
        ActionChains(page, duration=0).move_to_element(point).perform()
        said.append(
            wait(page, "return document.querySelector('#vg-tooltip-element.visible')?.innerText")
        )
        if "@accent" in said[-1]:
            break
    assert any("@accent" in text for text in said), said
    assert all(word in said[-1] for word in ("run", "parameters", "tokens", "FLOPs", "loss"))


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_scales_are_switched(page, by):
    from selenium.webdriver.common.keys import Keys

    place = figure(page, "compute-")
    button = place.find_element("css selector", "button[data-channel='x']")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)

    def ticks():
        return page.execute_script(
            "return [...arguments[0].querySelectorAll('.role-axis-label text')]"
            ".map((t) => t.textContent).join(' ')", place)  # fmt: skip

    before, was = ticks(), button.text
    if by == "mouse":
        button.click()
    else:
        button.send_keys(Keys.ENTER)
    wait(page, f"return arguments.length || {json.dumps(was)} !== document.querySelector("
         f"'#{place.get_attribute('id')} button[data-channel=x]').innerText")  # fmt: skip
    assert {was, button.text} == {"x: log", "x: linear"}
    end = time.monotonic() + 20
    while ticks() == before:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert page.get_log("browser") == []


def test_the_page_follows_the_theme_and_fits_a_phone(page):
    def look():
        return page.execute_script(
            "const f = document.querySelector(\"figure[id^='fig-d-'] svg\");"
            "return [getComputedStyle(document.body).backgroundColor,"
            " f.querySelector('g.mark-symbol.role-mark path').getAttribute('fill')]"
        )

    light = look()
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    end = time.monotonic() + 20
    while look()[1] == light[1] or look()[0] == light[0]:
        assert time.monotonic() < end
        time.sleep(0.1)
    resize(page, 390)
    wait(page, "return document.querySelector('.chart svg').getBoundingClientRect().width < 390")
    width = page.execute_script("return document.documentElement.scrollWidth")
    assert width <= 390
    assert page.get_log("browser") == []
