"""Options as overlays on a profile."""

import pytest

from probe.profile import REMOVE, ProfileError
from probe.profile.options import overlays


def test_set_takes_toml_values_and_plain_text() -> None:
    made = overlays({"set": ["limits.timeout=5", 'submission.connect=["a", "b"]', "submission.host=mail.x.test"]})
    assert [(item.path, item.value) for item in made] == [
        (("limits", "timeout"), 5),
        (("submission", "connect"), ["a", "b"]),
        (("submission", "host"), "mail.x.test"),
    ]


@pytest.mark.parametrize("text", ["nonsense", "key=1", "=x", "a..b=1"])
def test_set_without_section_key_value_is_refused_and_not_echoed(text: str) -> None:
    with pytest.raises(ProfileError, match=r"--set"):
        overlays({"set": [text]})
    with pytest.raises(ProfileError) as caught:
        overlays({"set": ["password=hunter2"]})
    assert "hunter2" not in str(caught.value)


def test_readback_switches_readers_on_and_off() -> None:
    made = {item.path[1]: item.value for item in overlays({"readback": "imap"})}
    assert made == {"imap": {}, "pop3": REMOVE}
    with pytest.raises(ProfileError, match="imap, pop3, both or none"):
        overlays({"readback": "nntp"})


def test_nothing_given_changes_nothing() -> None:
    assert overlays({}) == []
