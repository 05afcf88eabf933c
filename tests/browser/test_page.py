"""The page, in a real browser, as people use it."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from starlette.responses import PlainTextResponse

from tests.browser.conftest import VIEWS, watched
from tests.browser.stub import MODEL, Stub

Paths = list[Path]
COUNT_SHIFTS = """
window.moved = 0;
const count = (list) => list.getEntries().forEach((entry) => (moved += entry.value));
new PerformanceObserver(count).observe({ type: "layout-shift", buffered: true });
"""


def give(page: Page, *paths: Path) -> Locator:
    """Open the page and choose pictures; return the first one's card."""
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).not_to_have_text("What is it?")
    page.locator("#files").set_input_files(paths)
    return page.locator(".card").first


def drop(page: Page, path: Path) -> None:
    """Drop a file on the page, as if it had been dragged there."""
    script = """bytes => {
        const held = new DataTransfer();
        held.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" }));
        const over = document.querySelector("h1");
        for (const name of ["dragenter", "dragover", "drop"]) {
            const event = { dataTransfer: held, bubbles: true, cancelable: true };
            over.dispatchEvent(new DragEvent(name, event));
        }
    }"""
    page.evaluate(script, list(path.read_bytes()))


def paste(page: Page, path: Path) -> None:
    """Paste a file into the page."""
    script = """bytes => {
        const held = new DataTransfer();
        held.items.add(new File([new Uint8Array(bytes)], "pasted.jpg", { type: "image/jpeg" }));
        const event = { clipboardData: held, bubbles: true, cancelable: true };
        document.body.dispatchEvent(new ClipboardEvent("paste", event));
    }"""
    page.evaluate(script, list(path.read_bytes()))


def test_chosen_picture_is_answered(page: Page, stub: Stub, pictures: Paths) -> None:
    """A chosen file is sent as it is; its label, probabilities and time are shown."""
    card = give(page, pictures[1])

    expect(card.get_by_role("heading", name="bee 98.2%")).to_be_visible()
    expect(card.get_by_role("listitem")).to_have_text(["bee 98.2%", "ant 1.8%"])
    expect(card.get_by_text(re.compile(r"^answered in \d+ ms$"))).to_be_visible()
    path, body, headers = stub.seen[0]
    assert (path, body) == ("/predict", pictures[1].read_bytes())
    assert headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("bring", [drop, paste])
def test_picture_comes_in_other_ways(
    page: Page, stub: Stub, pictures: Paths, bring: Callable[[Page, Path], None]
) -> None:
    """A picture may be dropped anywhere on the page, or pasted."""
    page.goto("/")
    bring(page, pictures[0])

    expect(page.locator(".verdict")).to_have_text("bee 98.2%")
    assert stub.seen[0][1] == pictures[0].read_bytes()


def test_camera_is_offered_where_there_is_a_touch_screen(page: Page, pictures: Paths) -> None:
    """A phone's button asks for the camera, and its picture is answered like any other."""
    page.goto("/")
    button = page.get_by_role("button", name="Take a photo")
    if not page.evaluate("matchMedia('(any-pointer: coarse)').matches"):
        expect(button).to_be_hidden()
        return
    with page.expect_file_chooser() as chooser:
        button.tap()
    chooser.value.set_files(pictures[0])

    assert chooser.value.element.get_attribute("capture") == "environment"
    expect(page.locator(".verdict")).to_have_text("bee 98.2%")


def test_several_pictures_are_sent_two_at_once(page: Page, stub: Stub, pictures: Paths) -> None:
    """Many pictures wait for their turn, keep their order, and stand above those before."""
    stub.open.clear()
    give(page, *pictures, *pictures)
    expect(page.locator(".verdict", has_text="Looking…")).to_have_count(2)
    expect(page.locator(".verdict", has_text="Waiting…")).to_have_count(4)
    stub.open.set()
    expect(page.locator(".verdict", has_text="bee 98.2%")).to_have_count(6)
    page.locator("#files").set_input_files(pictures[2])

    expect(page.locator(".verdict", has_text="bee 98.2%")).to_have_count(7)
    names = ["another bee.jpg", *2 * ["ant.jpg", "bee.jpg", "another bee.jpg"]]
    expect(page.locator(".name")).to_have_text(names)
    assert stub.most_at_once == 2


def test_same_picture_may_come_twice(page: Page, pictures: Paths) -> None:
    """Choosing a file again asks again."""
    give(page, pictures[0])
    page.locator("#files").set_input_files(pictures[0])

    expect(page.locator(".card")).to_have_count(2)


def test_page_says_who_answers(page: Page) -> None:
    """The model, what it learned from, its accuracy and its limits are on the page."""
    page.goto("/")
    about = page.get_by_role("complementary", name="Who answers")

    expect(page.get_by_role("heading", level=1)).to_have_text("Ant or bee?")
    expect(about).to_contain_text(MODEL)
    expect(about).to_contain_text("resnet18, runtime int8")
    expect(about).to_contain_text("a drawn sample set, seed 0")
    expect(about).to_contain_text("96.1% right (147 of 153 pictures)")
    expect(about).to_contain_text("It knows only ant and bee, and will call anything one of them.")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"gate": {"inputs": "random noise", "rows": [{"runtime": "int8"}]}}, "96.1% right"),
        ({"gate": {}, "metrics": {}, "provenance": {}}, "not measured"),
    ],
)
def test_page_says_what_is_not_known(
    page: Page, stub: Stub, about: dict[str, object], said: str
) -> None:
    """A model that packing could not measure shows its training's accuracy, or that it has none."""
    stub.about = about
    page.goto("/")

    expect(page.locator("#model-accuracy")).to_have_text(said)


def test_many_labels_show_the_likeliest(page: Page, stub: Stub, pictures: Paths) -> None:
    """Of many labels five are shown, and all when asked for."""
    share = {f"label {number:03}": (1 + number) / 7260 for number in range(120)}
    stub.know(**share)
    page.goto("/")
    expect(page.locator("#model-labels")).to_contain_text("label 009, and 110 more")
    page.locator("#files").set_input_files(pictures[0])
    bars = page.locator(".bar:visible")
    expect(page.locator(".verdict")).to_have_text("label 119 1.7%")

    expect(bars).to_have_count(5)
    page.get_by_role("button", name="Show all 120").click()
    expect(bars).to_have_count(120)
    page.get_by_role("button", name="Show the likeliest").click()
    expect(bars).to_have_count(5)
    expect(page.get_by_role("heading", level=1)).to_have_text("What is it?")


def test_labels_are_text(page: Page, stub: Stub, pictures: Paths, tmp_path: Path) -> None:
    """Markup in a label, a message or a file's name is only text."""
    label = "<img src=x onerror=alert(1)>"
    file = tmp_path / "<b>&amp;.jpg"
    file.write_bytes(pictures[0].read_bytes())
    stub.know(**{label: 0.9999, "b": 0.0001})
    stub.refuse("corrupt_image", "<b>broken</b>")
    page.goto("/")
    page.locator("#files").set_input_files(file)

    expect(page.locator(".problem:visible")).to_have_text("<b>broken</b>")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".verdict")).to_have_text(f"{label} > 99.9%")
    expect(page.locator(".name")).to_have_text("<b>&amp;.jpg")
    expect(page.locator(".bar").last).to_have_text("b < 0.1%")


def test_heat_map_is_drawn_on_demand(page: Page, stub: Stub, pictures: Paths) -> None:
    """The heat map of any label is laid over the picture, asked for once, and taken away."""
    card = give(page, pictures[1])
    button, heat = card.get_by_role("button", name="Heat map"), card.locator(".map")
    expect(heat).to_be_hidden()
    button.click()

    expect(card.get_by_role("img", name="bee.jpg with what speaks for bee marked")).to_be_visible()
    expect(card.locator("figcaption")).to_have_text("What speaks for bee")
    expect(button).to_have_attribute("aria-pressed", "true")
    assert heat.bounding_box() == card.locator(".picture").bounding_box()
    card.get_by_role("combobox", name="for").select_option("ant")
    expect(card.get_by_role("img", name="bee.jpg with what speaks for ant marked")).to_be_visible()
    button.click()
    expect(heat).to_be_hidden()
    button.click()
    expect(heat).to_be_visible()
    asked = [path for path, body, _ in stub.seen if body == pictures[1].read_bytes()]
    assert asked == ["/predict", "/explain?label=bee", "/explain?label=ant"]


def test_heat_map_that_fails_says_so(page: Page, stub: Stub, pictures: Paths) -> None:
    """The API's message stands where the heat map would, and asking again works."""
    card = give(page, pictures[1])
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")
    stub.refuse("timeout", "not drawn in time")
    button = card.get_by_role("button", name="Heat map")
    button.click()

    expect(card.locator("figcaption")).to_have_text("not drawn in time")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(card.locator(".map")).to_be_visible()


@pytest.mark.parametrize("code", ["unsupported_image", "corrupt_image", "body_too_large"])
def test_error_is_told_in_the_apis_words(
    page: Page, stub: Stub, pictures: Paths, code: str
) -> None:
    """What the API refuses is explained beside its picture, and may be tried again."""
    stub.refuse(code, f"it was {code}: do something about it")
    card = give(page, pictures[0])

    expect(card.locator(".problem")).to_have_text(f"it was {code}: do something about it")
    expect(card.get_by_role("button", name="Heat map")).to_be_hidden()
    card.get_by_role("button", name="Try again").click()
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")
    expect(card.locator(".problem")).to_be_hidden()


def test_file_that_is_no_picture_has_no_preview(page: Page, stub: Stub, tmp_path: Path) -> None:
    """A file that the browser cannot show is sent all the same: the server may know better."""
    file = tmp_path / "notes.jpg"
    file.write_bytes(b"not a picture")
    stub.refuse("unsupported_image", "no picture")
    card = give(page, file)

    expect(card.locator(".picture")).to_be_hidden()
    expect(card.locator(".problem")).to_have_text("no picture")


def test_busy_server_is_asked_again(page: Page, stub: Stub, pictures: Paths) -> None:
    """After 429 the page waits as long as it is told to, says so, and tries again."""
    stub.refuse("overloaded", "busy")
    card = give(page, pictures[0])

    expect(card.locator(".verdict")).to_have_text("Busy; again in 1 s…")
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")
    assert len(stub.seen) == 2


def test_answer_of_no_shape_of_ours_is_told(page: Page, stub: Stub, pictures: Paths) -> None:
    """A router's own error page becomes a message too."""
    stub.refusals.append(PlainTextResponse("<h1>Bad request</h1>", 400))
    card = give(page, pictures[0])

    expect(card.locator(".problem")).to_have_text("The server answered 400 Bad Request")


def test_server_that_is_away_is_told(browser: Browser, stub: Stub, pictures: Paths) -> None:
    """Without a network there is a message, and trying again works when it is back."""
    context = browser.new_context(base_url=stub.url)
    page = context.new_page()
    card = give(page, pictures[0])
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")
    context.set_offline(True)
    page.locator("#files").set_input_files(pictures[1])
    expect(card.locator(".problem")).to_contain_text("No answer: the server is away")
    context.set_offline(False)
    card.get_by_role("button", name="Try again").click()

    expect(card.locator(".verdict")).to_have_text("bee 98.2%")
    context.close()


def test_key_is_asked_for_once(page: Page, stub: Stub, pictures: Paths) -> None:
    """A server with a key gets it: asked for at first, a wrong one again, kept for the tab."""
    stub.key = "open-sesame"
    page.goto("/")
    dialog = page.get_by_role("dialog", name="This server asks for a key")
    expect(dialog.get_by_role("textbox", name="Key")).to_be_focused()
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("did not accept that key")
    page.keyboard.type("open-sesame")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ant or bee?")
    page.locator("#files").set_input_files(pictures)
    expect(page.locator(".verdict", has_text="bee 98.2%")).to_have_count(3)
    page.reload()

    expect(page.get_by_role("heading", level=1)).to_have_text("Ant or bee?")
    expect(dialog).to_have_count(0)
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_key_may_be_withheld(page: Page, stub: Stub, pictures: Paths) -> None:
    """Whoever has no key reads why nothing is answered, and is asked again on trying again."""
    stub.key = "open-sesame"
    page.goto("/")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    about = page.get_by_role("complementary")
    expect(about.locator(".problem")).to_have_text("send the server's key as a bearer token")
    page.locator("#files").set_input_files(pictures)
    page.get_by_role("button", name="Not now").click()
    expect(page.locator(".card .problem:visible")).to_have_count(3)
    about.get_by_role("button", name="Try again").click()
    page.get_by_role("textbox", name="Key").fill("open-sesame")
    page.get_by_role("button", name="Use this key").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Ant or bee?")
    page.locator(".card").first.get_by_role("button", name="Try again").click()
    expect(page.locator(".verdict").first).to_have_text("bee 98.2%")


def test_key_is_not_in_the_curl_line(page: Page, stub: Stub, pictures: Paths) -> None:
    """A line that people paste elsewhere names the key's variable, not the key."""
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ant or bee?")
    stub.key = "open-sesame"
    page.locator("#files").set_input_files(pictures[0])
    page.get_by_role("textbox", name="Key").fill("open-sesame")
    page.keyboard.press("Enter")
    expect(page.locator(".verdict")).to_have_text("bee 98.2%")

    line = page.locator(".card code").text_content() or ""
    assert '-H "Authorization: Bearer $ANTBEE_API_KEY"' in line
    assert "sesame" not in line


@pytest.mark.parametrize("name", ["bee.jpg", "it's $HOME; a `bee`.jpg"])
def test_curl_line_sends_the_same_request(
    page: Page, stub: Stub, pictures: Paths, tmp_path: Path, name: str
) -> None:
    """The copied line, run in a shell beside the picture, sends the same bytes."""
    file = tmp_path / name
    file.write_bytes(pictures[1].read_bytes())
    card = give(page, file)
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")
    card.get_by_text("The same with curl").click()
    card.get_by_role("button", name="Copy").click()
    expect(card.get_by_role("button", name="Copied")).to_be_visible()
    line = page.evaluate("navigator.clipboard.readText()")
    shell = ["sh", "-c", f"{line} --silent"]
    answer = subprocess.run(shell, cwd=tmp_path, capture_output=True, check=True)

    assert json.loads(answer.stdout)["label"] == "bee"
    assert [body for _, body, _ in stub.seen] == [file.read_bytes()] * 2


def test_pictures_can_be_removed(page: Page, pictures: Paths) -> None:
    """One or all pictures leave; the focus goes on to what is left."""
    give(page, *pictures)
    expect(page.locator(".verdict", has_text="bee 98.2%")).to_have_count(3)
    page.get_by_role("button", name="Remove ant.jpg").click()
    expect(page.locator(".name")).to_have_text(["bee.jpg", "another bee.jpg"])
    expect(page.get_by_role("button", name="Remove bee.jpg")).to_be_focused()
    page.get_by_role("button", name="Remove all").click()

    expect(page.locator(".card")).to_have_count(0)
    expect(page.locator("#answers")).to_be_hidden()
    expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()


def test_removed_picture_is_not_sent(page: Page, stub: Stub, pictures: Paths) -> None:
    """What waits for its turn and is removed is never sent; its place goes to the next."""
    stub.open.clear()
    give(page, *pictures, pictures[0])
    expect(page.locator(".verdict", has_text="Looking…")).to_have_count(2)
    page.get_by_role("button", name="Remove another bee.jpg").click()
    stub.open.set()

    expect(page.locator(".verdict", has_text="bee 98.2%")).to_have_count(3)
    assert pictures[2].read_bytes() not in [body for _, body, _ in stub.seen]


def test_keyboard_alone_is_enough(page: Page, pictures: Paths) -> None:
    """Everything can be reached and done with the keyboard, in the order of reading."""
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ant or bee?")
    for name in ("antbee", "API documentation", "Choose pictures"):
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_accessible_name(name)
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(pictures[1])
    expect(page.locator(".verdict")).to_have_text("bee 98.2%")
    if page.get_by_role("button", name="Take a photo").is_visible():
        page.keyboard.press("Tab")
    for name in ("Remove all", "Remove bee.jpg", "Heat map"):
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_accessible_name(name)
    page.keyboard.press("Space")
    expect(page.locator(".map")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(page.locator("figcaption")).to_have_text("What speaks for ant")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_role("button", name="Copy")).to_be_visible()


def test_screen_readers_are_told(page: Page, stub: Stub, pictures: Paths) -> None:
    """Answers and failures are announced; a picture that is looked at is marked as busy."""
    stub.open.clear()
    stub.refuse("corrupt_image", "it is broken")
    card = give(page, pictures[0])
    expect(card).to_have_attribute("aria-busy", "true")
    stub.open.set()
    expect(card).to_have_attribute("aria-busy", "false")
    page.locator("#files").set_input_files(pictures[1])
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")

    told = page.get_by_role("log").locator("p")
    expect(told).to_have_text(["ant.jpg: it is broken", "bee.jpg: bee, 98.2%"])


@pytest.mark.parametrize("many", [False, True], ids=["two labels", "ten labels"])
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_jumps_and_nothing_is_cut(
    browser: Browser, stub: Stub, pictures: Paths, view: str, *, many: bool
) -> None:
    """Neither the model nor an answer moves what is there already; nothing is too wide."""
    stub.know(**dict.fromkeys("abcdefghij", 0.1) if many else {"ant": 0.018, "bee": 0.982})
    stub.open.clear()
    with watched(browser, stub.url, view) as page:
        page.add_init_script(COUNT_SHIFTS)
        page.goto("/")
        expect(page.locator("#model-facts")).to_be_visible()
        assert page.evaluate("moved") < 0.01
        page.locator("#files").set_input_files(pictures)
        expect(page.locator(".verdict", has_text="Looking…")).to_have_count(2)
        page.wait_for_timeout(200)
        page.evaluate("moved = 0")  # new pictures push away what stood below, as they should
        stub.open.set()
        expect(page.locator(".card[data-state=done]")).to_have_count(3)
        page.get_by_role("button", name="Heat map").first.click()
        expect(page.locator(".map:visible")).to_have_count(1)
        page.wait_for_timeout(200)

        assert page.evaluate("moved") == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_moves_for_those_who_asked_for_it(page: Page, pictures: Paths) -> None:
    """With reduced motion there is no animation."""
    card = give(page, pictures[0])
    expect(card.locator(".verdict")).to_have_text("bee 98.2%")

    assert page.evaluate("document.getAnimations().length") == 0


def test_themes_differ(browser: Browser, stub: Stub) -> None:
    """The page follows the system between light and dark."""
    grounds = set()
    for view in ("desktop-light", "desktop-dark"):
        with watched(browser, stub.url, view) as page:
            page.goto("/")
            grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert grounds == {"rgb(248, 243, 232)", "rgb(22, 19, 14)"}
