"""Settings from the environment."""

from dataclasses import replace

import pytest

from antbee.errors import SettingsError
from antbee.machine import cores
from antbee.serving.settings import Settings, read_settings
from antbee.typicality import UNKNOWN_BELOW


def test_defaults() -> None:
    """Without variables, every setting has its documented default."""
    expected = Settings(
        max_body_mb=10,
        max_megapixels=50,
        threads=cores(),
        queue=32 * cores(),
        timeout=25,
        runtime="auto",
    )

    assert expected == read_settings({"HOME": "/nowhere"})


def test_values_are_read() -> None:
    """Each variable sets its setting, in its own unit."""
    settings = read_settings(
        {
            "ANTBEE_MAX_BODY_MB": "2.5",
            "ANTBEE_MAX_MEGAPIXELS": "1",
            "ANTBEE_THREADS": "3",
            "ANTBEE_QUEUE": "0",
            "ANTBEE_TIMEOUT": "0.5",
            "ANTBEE_RUNTIME": "torch",
            "ANTBEE_UNKNOWN_BELOW": "0.01",
        }
    )

    assert settings.unknown_below == 0.01
    settings = replace(settings, unknown_below=UNKNOWN_BELOW)
    assert Settings(2.5, 1, 3, 0, 0.5, "torch") == settings
    assert (settings.max_body, settings.max_pixels) == (2_500_000, 1_000_000)


def test_guards_and_log_are_read() -> None:
    """Key, origins, the most pictures and the log's form are read; by default all are open."""
    told = read_settings(
        {
            "ANTBEE_API_KEY": "k3y!",
            "ANTBEE_CORS_ORIGINS": "https://a.example, http://localhost:8080,http://[::1]:1",
            "ANTBEE_MAX_IMAGES": "5",
            "ANTBEE_LOG": "json",
        }
    )
    usual = read_settings({})

    origins = ("https://a.example", "http://localhost:8080", "http://[::1]:1")
    assert (told.api_key, told.cors_origins, told.max_images) == (("k3y!",), origins, 5)
    assert (usual.api_key, usual.cors_origins, usual.max_images) == ((), (), 32)
    assert read_settings({"ANTBEE_API_KEY": "new, old"}).api_key == ("new", "old")
    assert (told.log, usual.log) == ("json", "text")
    assert read_settings({"ANTBEE_CORS_ORIGINS": "*"}).cors_origins == ("*",)


@pytest.mark.parametrize(
    "value", ["", "two words", "tab\t", "schlüssel", "line\n", ",", "one,", ",one", "a,,b"]
)
def test_secret_is_not_repeated(value: str) -> None:
    """A key that no header can carry is refused by its name alone: logs are read by many."""
    with pytest.raises(SettingsError, match=r"^ANTBEE_API_KEY: it must be a key, or") as caught:
        read_settings({"ANTBEE_API_KEY": value})

    assert value in ("", ",") or value not in str(caught.value)
    assert "k3y!" not in repr(Settings(api_key=("k3y!",)))


def test_downloads_are_off_and_bounded() -> None:
    """Addresses are fetched only where that is asked for, few at once and not for long."""
    usual = read_settings({})
    told = read_settings({"ANTBEE_DOWNLOAD_THREADS": "2", "ANTBEE_DOWNLOAD_TIMEOUT": "0.5"})

    assert (usual.allow_urls, usual.download_threads, usual.download_timeout) == (False, 5, 10)
    assert (told.allow_urls, told.download_threads, told.download_timeout) == (False, 2, 0.5)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((word, True) for word in ("on", "TRUE", "yes", "1")),
        *((word, False) for word in ("off", "False", "no", "0")),
    ],
)
def test_switches(value: str, *, expected: bool) -> None:
    """A switch understands the usual words, in capitals or not."""
    assert read_settings({"ANTBEE_ALLOW_URLS": value}).allow_urls is expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANTBEE_MAX_BODY_MB", "lots"),
        ("ANTBEE_MAX_BODY_MB", "0"),
        ("ANTBEE_MAX_BODY_MB", "nan"),
        ("ANTBEE_MAX_MEGAPIXELS", "-1"),
        ("ANTBEE_MAX_MEGAPIXELS", "inf"),
        ("ANTBEE_THREADS", "0"),
        ("ANTBEE_THREADS", "2.5"),
        ("ANTBEE_QUEUE", "-1"),
        ("ANTBEE_TIMEOUT", ""),
        ("ANTBEE_ALLOW_URLS", "maybe"),
        ("ANTBEE_ALLOW_URLS", ""),
        ("ANTBEE_DOWNLOAD_THREADS", "0"),
        ("ANTBEE_DOWNLOAD_TIMEOUT", "0"),
        ("ANTBEE_RUNTIME", "ONNX"),
        ("ANTBEE_MAX_IMAGES", "0"),
        ("ANTBEE_LOG", "xml"),
        ("ANTBEE_UNKNOWN_BELOW", "-0.1"),
        ("ANTBEE_UNKNOWN_BELOW", "5%"),
        ("ANTBEE_UNKNOWN_BELOW", "nan"),
        ("ANTBEE_CORS_ORIGINS", ""),
        ("ANTBEE_CORS_ORIGINS", "example.com"),
        ("ANTBEE_CORS_ORIGINS", "https://a.example/"),
        ("ANTBEE_CORS_ORIGINS", "https://*.example"),
        ("ANTBEE_CORS_ORIGINS", "*,https://a.example"),
        ("WEB_CONCURRENCY", "auto"),
    ],
)
def test_impossible_value_names_variable_and_value(name: str, value: str) -> None:
    """A value that a setting cannot have is answered with its name and value."""
    with pytest.raises(SettingsError) as caught:
        read_settings({name: value})

    assert str(caught.value).startswith(f"{name}={value!r}: it must be ")


def test_unknown_setting_is_refused() -> None:
    """A misspelt setting does not silently do nothing."""
    with pytest.raises(SettingsError, match="ANTBEE_TIMEOUTS is not a setting"):
        read_settings({"ANTBEE_TIMEOUTS": "3"})


def test_names_that_a_platform_sets_are_passed_over() -> None:
    """What Kubernetes tells every pod of a service called antbee is no setting of ours."""
    environment = {"ANTBEE_SERVICE_HOST": "x", "ANTBEE_PORT": "tcp://x", "ANTBEE_PORT_80_TCP": "x"}

    assert Settings() == read_settings(environment)


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes get twice a share of the cores each, and a queue to match."""
    monkeypatch.setattr("antbee.serving.settings.cores", lambda: 8)
    many, few = (read_settings({"WEB_CONCURRENCY": count}) for count in ("8", "2"))
    told = read_settings({"WEB_CONCURRENCY": "1000", "ANTBEE_THREADS": "3"})

    assert (many.workers, many.threads, many.queue) == (8, 2, 64)
    assert (few.threads, few.queue) == (8, 256)
    assert (told.threads, told.queue) == (3, 96)
