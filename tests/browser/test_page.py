"""The page, in a real browser, as people use it."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.gestures import Paths, drop, give, paste
from tests.browser.stub import MODEL, Stub


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
    for _ in range(500):  # both are looked at before they are sent
        if stub.most_at_once < 2:
            page.wait_for_timeout(10)
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
    expect(page.locator("#model-test")).to_be_hidden()


def test_page_tells_the_test_accuracy(page: Page, stub: Stub) -> None:
    """Where there were test pictures, that of the runtime that answers stands before validation's.

    What training measured is the trained network's.
    """
    test = {"pictures": 50, "correct": 41}
    by_runtime = {"onnx": 41, "int8": 42}
    for told, said in ((test, "82% right (41 of 50"), (test | {"by_runtime": by_runtime}, "84%")):
        stub.about = {"metrics": {"test": told}}
        page.goto("/")
        expect(page.locator("#model-test")).to_contain_text(said)
    expect(page.locator("#model-accuracy")).to_have_text("96.1% right (147 of 153 pictures)")


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


def test_stranger_is_called_one(page: Page, stub: Stub, pictures: Paths) -> None:
    """A picture of none of the labels is said to be one, in words, with the closest label."""
    stub.about, stub.typicality = {"typicality": {"reason": None}}, 0.01
    give(page, pictures[0])

    expect(page.locator(".verdict")).to_have_text("Neither ant nor bee, it seems closest: bee")
    expect(page.locator(".caveat")).to_contain_text("It notices most pictures of other things")
    stub.know(dress=0.1, hat=0.2, pants=0.3, shoes=0.4)
    page.locator("#files").set_input_files(pictures[0])
    verdict = page.locator(".verdict").first
    expect(verdict).to_have_text("None of dress, hat, pants, and shoes, it seems closest: shoes")
    stub.typicality = 0.5
    page.locator("#files").set_input_files(pictures[0])
    expect(page.locator(".verdict").first).to_have_text("shoes 40%")


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


def test_answers_are_saved_as_a_table(
    page: Page, stub: Stub, pictures: Paths, tmp_path: Path
) -> None:
    """All answers, good and bad, go into a file that a spreadsheet opens and runs nothing of."""
    named = [tmp_path / name for name in ("=1+1.jpg", '"ü", b.jpg', "broken.jpg")]
    for file, picture in zip(named, pictures, strict=True):
        file.write_bytes(picture.read_bytes())
    give(page, *named)
    expect(page.locator(".verdict", has_text="bee 98.2%")).to_have_count(3)
    stub.refuse("corrupt_image", "it is broken, cut short")
    page.locator("#files").set_input_files(named[2])
    expect(page.locator(".problem:visible")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    text = download.value.path().read_text("utf-8")

    assert download.value.suggested_filename == "answers.csv"
    assert text.removeprefix("\ufeff").splitlines() == [
        "name,label,probability,probability_ant,probability_bee,error",
        "'=1+1.jpg,bee,0.982,0.018,0.982,",
        '"""ü"", b.jpg",bee,0.982,0.018,0.982,',
        "broken.jpg,bee,0.982,0.018,0.982,",
        "broken.jpg,,,,,corrupt_image",
    ]


def test_removed_picture_is_not_sent(page: Page, stub: Stub, pictures: Paths) -> None:
    """What waits for its turn and is removed is never sent; its place goes to the next."""
    stub.open.clear()
    give(page, *pictures, pictures[0])
    expect(page.locator(".verdict", has_text="Looking…")).to_have_count(2)
    page.get_by_role("button", name="Remove another bee.jpg").click()
    stub.open.set()

    expect(page.locator(".verdict", has_text="bee 98.2%")).to_have_count(3)
    assert pictures[2].read_bytes() not in [body for _, body, _ in stub.seen]


def test_answer_may_be_called_wrong(page: Page, stub: Stub, pictures: Paths) -> None:
    """Where the server takes feedback, other labels are a key press away, and none of them, too."""
    stub.about = {"feedback": True}
    stub.know(ant=0.1, bee=0.7, wasp=0.2)
    card = give(page, pictures[0])
    expect(card.locator(".verdict")).to_have_text("bee 70%")
    card.get_by_text("Wrong?").press("Enter")
    choices = card.get_by_role("group", name="What does it show?").get_by_role("button")
    expect(choices).to_have_text(["ant", "wasp", "None of these"])
    stub.refuse("unknown_id", "no answer is remembered")
    choices.nth(2).press("Enter")
    expect(card.get_by_role("status")).to_have_text("no answer is remembered")
    choices.nth(0).press("Enter")

    expect(card.get_by_text("Thanks")).to_be_focused()
    expect(choices).to_have_count(0)
    told = [(path, json.loads(body)) for path, body, _ in stub.seen[1:]]
    assert told == [("/feedback", {"id": "request-1", "label": label}) for label in (None, "ant")]


def test_unknown_picture_may_be_of_any_label(page: Page, stub: Stub, pictures: Paths) -> None:
    """What was called none of the labels may be each of them; elsewhere nothing is offered."""
    stub.typicality = 0.01
    card = give(page, pictures[0])
    expect(card.locator(".verdict")).to_contain_text("Neither")
    expect(card.get_by_text("Wrong?")).to_be_hidden()
    stub.about = {"feedback": True}
    card = give(page, pictures[0])
    card.get_by_text("Wrong?").click()

    choices = card.get_by_role("group", name="What does it show?").get_by_role("button")
    expect(choices).to_have_text(["ant", "bee"])
