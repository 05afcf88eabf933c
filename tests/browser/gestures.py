"""What people do with the page."""

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

Paths = list[Path]


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
