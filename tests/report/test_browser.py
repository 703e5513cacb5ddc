"""The page in a real browser: drawn, switched, sorted, without an error on its console."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.report.page import write

pytestmark = pytest.mark.full

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1280,900",
)  # fmt: skip

TAB, ENTER, SPACE, ARROW_DOWN = "\ue004", "\ue007", "\ue00d", "\ue015"
"""Keys, as WebDriver names them."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driven = webdriver.Chrome(options, webdriver.ChromeService(driver))
        yield driven
        driven.quit()


@pytest.fixture(scope="module")
def opened(browser: Any, finished: Path) -> Any:
    browser.get(write(finished).as_uri())
    return browser


def until(what: Callable[[], object], seconds: float = 120.0) -> object:
    """Wait until it is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def box_of(label: str) -> str:
    """Find the check box of a figure by what is written beside it, in JavaScript."""
    return (
        "[...figure.querySelectorAll('fieldset label')].find("
        f"label => label.textContent.trim() === '{label}').querySelector('input')"
    )


def draw(browser: Any, chart: str) -> Callable[[str], Any]:
    """Scroll to a chart until it is drawn; returns how to ask it something."""
    figure = f"document.querySelector('#chart-{chart}')"
    browser.execute_script(f"{figure}.scrollIntoView()")
    until(lambda: browser.execute_script(f"return {figure}.dataset.drawn === 'true'"))
    return lambda script: browser.execute_script(f"const figure = {figure}; {script}")


def press(browser: Any, keys: str) -> None:
    """Keys into whatever has the focus."""
    from selenium.webdriver import ActionChains

    ActionChains(browser, duration=0).send_keys(keys).perform()


LINES = "return figure.querySelectorAll('.mark-rule line[stroke-width=\"2.5\"]').length"


def test_every_chart_is_drawn_without_an_error(opened: Any) -> None:
    charts = opened.execute_script(
        "return [...document.querySelectorAll('figure')].map((f) => f.dataset.chart)"
    )
    assert len(charts) >= 7
    for chart in charts:
        ask = draw(opened, chart)
        assert ask("return figure.querySelectorAll('svg path, svg line').length") > 20
    assert [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_variation_is_switched_on_and_off(opened: Any) -> None:
    ask = draw(opened, "region_4j2b")
    assert ask(LINES) == 0
    click = f"{box_of('pt_scale')}.click()"
    ask(click)
    # Up and down, above and in the ratio, of 25 bins of which some are empty.
    assert 40 < int(str(until(lambda: ask(LINES)))) <= 100
    ask(click)
    until(lambda: ask(LINES) == 0)


def test_a_process_is_left_out(opened: Any) -> None:
    ask = draw(opened, "region_4j1b")
    bars = "return figure.querySelectorAll('.mark-rect.role-mark path[fill=\"%s\"]').length"
    box = box_of("tt\u0304")
    colour = "#bd1f01"
    assert ask(bars % colour) > 5
    ask(f"{box}.click()")
    until(lambda: ask(bars % colour) == 0)
    ask(f"{box}.click()")
    until(lambda: ask(bars % colour) > 5)


def test_zooming_changes_the_axis_and_all_brings_it_back(opened: Any) -> None:
    ask = draw(opened, "region_4j2b")
    ticks = "return [...figure.querySelectorAll('.role-axis-label text')].map((t) => t.textContent)"
    whole = set(ask(ticks))
    assert {"50", "550"} <= whole
    ask("figure.querySelector('[data-zoom=\"0.5\"]').click()")
    until(lambda: "550" not in ask(ticks))
    ask("figure.querySelector('[data-zoom=\"0\"]').click()")
    until(lambda: set(ask(ticks)) == whole)


def test_another_choice_is_drawn(opened: Any) -> None:
    ask = draw(opened, "control")
    titles = "return figure.querySelector('svg').textContent"
    assert "Lepton p_T" in ask(titles)
    ask(
        "const s = figure.querySelector('select'); s.selectedIndex = s.options.length - 1;"
        "s.dispatchEvent(new Event('change'))"
    )
    until(lambda: "Primary vertices" in ask(titles))


def test_a_table_is_sorted_by_number_both_ways(opened: Any) -> None:
    """By cross section, of which the text of some has more digits; data have none and come last."""

    def sections() -> list[float]:
        cells: list[str] = opened.execute_script(
            "const table = document.querySelector('#data table');"
            "return [...table.tBodies[0].rows].map((row) => row.cells[6].textContent)"
        )
        return [float(text) for text in cells if text != "-"]

    click = "document.querySelectorAll('#data thead button')[6].click()"
    opened.execute_script(click)
    rising = sections()
    assert rising == sorted(rising)
    assert [str(x) for x in rising] != sorted(str(x) for x in rising)
    opened.execute_script(click)
    assert sections() == rising[::-1]
    assert (
        opened.execute_script("return document.querySelectorAll('#data [aria-sort]').length") == 1
    )


def test_the_theme_follows_the_system_and_its_button(opened: Any) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    theme = "return document.documentElement.dataset.theme"

    def system(scheme: str) -> None:
        wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
        until(lambda: opened.execute_script(theme) == scheme)

    system("dark")
    system("light")
    light = opened.execute_script(background)
    opened.execute_script("document.getElementById('theme').click()")
    dark = opened.execute_script(background)
    assert light == "rgb(255, 255, 255)"
    assert dark != light
    opened.execute_script("document.getElementById('theme').click()")


CONTROLS = "a[href], button, select, input, summary, [tabindex='0']"


def test_the_tab_key_stops_at_every_control_in_order_and_shows_where(opened: Any) -> None:
    opened.refresh()
    wanted = opened.execute_script(
        "window.stops = [...document.querySelectorAll(arguments[0])].filter("
        "  (e) => e.checkVisibility() && !(e.closest('details:not([open])') && e.tagName !== 'SUMMARY'));"
        "window.visited = []; window.unseen = [];"
        "document.addEventListener('focusin', ({ target }) => {"
        "  const look = getComputedStyle(target);"
        "  window.visited.push(window.stops.indexOf(target));"
        "  if (look.outlineStyle === 'none' || parseFloat(look.outlineWidth) < 2)"
        "    window.unseen.push(target.outerHTML.slice(0, 80));"
        "});"
        "return window.stops.length",
        CONTROLS,
    )
    press(opened, TAB * wanted)
    assert opened.execute_script("return window.visited") == list(range(wanted))
    assert wanted > 60
    assert opened.execute_script("return window.unseen") == []
    tree = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    focusable = [
        node
        for node in tree
        if not node["ignored"]
        and node["role"]["value"] != "RootWebArea"
        and any(p["name"] == "focusable" and p["value"]["value"] for p in node["properties"])
    ]
    assert len(focusable) >= wanted
    assert [node["role"]["value"] for node in focusable if not node["name"]["value"]] == []


def test_keys_sort_a_table(opened: Any) -> None:
    heading = "document.querySelectorAll('#data th')[6]"
    opened.execute_script(f"{heading}.querySelector('button').focus()")
    for key, state in ((ENTER, "ascending"), (SPACE, "descending")):
        press(opened, key)
        assert opened.execute_script(f"return {heading}.ariaSort") == state
    assert opened.execute_script(f"return {heading}.contains(document.activeElement)")


def test_keys_switch_choose_move_and_open(opened: Any) -> None:
    ask = draw(opened, "region_4j2b")
    ask(f"{box_of('pt_scale')}.focus()")
    press(opened, SPACE)
    until(lambda: ask(LINES) > 40)
    press(opened, SPACE)
    until(lambda: ask(LINES) == 0)

    def highest() -> float:
        """Label of an axis: of the mass, as no bin has so many events."""
        texts = ask(
            "return [...figure.querySelectorAll('.role-axis-label text')].map((t) => t.textContent)"
        )
        return max(float(text) for text in texts)

    assert highest() == 550
    ask("figure.querySelector('[data-zoom=\"0.5\"]').focus()")
    press(opened, ENTER)
    until(lambda: 400 < highest() <= 425)
    press(opened, TAB * 4 + ENTER)
    until(lambda: 460 < highest() <= 487.5)
    press(opened, ENTER * 3)
    until(lambda: 530 < highest() <= 550)

    press(opened, TAB + ENTER)
    assert ask("return figure.querySelector('details').open")
    press(opened, TAB)
    assert ask("return document.activeElement === figure.querySelector('thead button')")

    ask = draw(opened, "control")
    titles = "return figure.querySelector('svg').textContent"
    before = ask(titles)
    ask("figure.querySelector('select').focus()")
    press(opened, ARROW_DOWN * 2)
    until(lambda: ask(titles) != before)


def test_a_link_of_the_keyboard_goes_to_its_section(opened: Any) -> None:
    opened.execute_script("document.querySelector('nav a[href=\"#measurement\"]').focus()")
    press(opened, ENTER + TAB)
    inside = "return document.querySelector('#measurement').contains(document.activeElement)"
    assert opened.execute_script(inside)


def test_a_phone_does_not_scroll_sideways(opened: Any) -> None:
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    ask = draw(opened, "region_4j2b")
    until(lambda: ask("return figure.querySelector('svg').clientWidth") <= 390)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 390
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_is_cut_on_paper(opened: Any) -> None:
    """A4 is 718 pixels wide, and cannot be scrolled."""
    size = {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    wide = (
        "return [...document.querySelectorAll('table, pre, p, h1, h3')].filter(part =>"
        " part.getBoundingClientRect().right > 718 || part.scrollWidth > part.clientWidth + 1"
        ").map(part => part.textContent.slice(0, 60))"
    )
    until(lambda: opened.execute_script(wide) == [])
    assert (
        opened.execute_script("return getComputedStyle(document.querySelector('nav')).display")
        == "none"
    )
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
