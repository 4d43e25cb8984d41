"""Secrets stay in the process; what only looks like one stays readable."""

import pytest

from scaling.doors.redact import REDACTED, redact


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api_key", "x"),
        ("apiKey", "x"),
        ("WANDB_API_KEY", "x"),
        ("password", "hunter2"),
        ("client-secret", "x"),
        ("HF_TOKEN", "abcdefghijklmno"),
        ("aws_access_key_id", "x"),
        ("note", "hf_" + "a" * 30),
        ("note", "sk-" + "a" * 30),
        ("note", "ghp_" + "a" * 30),
        ("note", "AKIA" + "A" * 16),
        ("note", "0123456789" * 4),
        ("note", "-----BEGIN RSA PRIVATE KEY-----\nabc"),
        ("note", "eyJhbGciOiJI.eyJzdWIiOiIx.abcdef"),
    ],
)
def test_secret(key, value):
    assert redact({"outer": [{key: value}]}) == {"outer": [{key: REDACTED}]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("eos_token", "</s>"),
        ("tokens", "2000000000000 tokens"),
        ("tokenizer", "data/tokenizer-of-mine.json"),
        ("duration", "20 tokens_per_param"),
        ("commit", "0123456789" * 4),
        ("manifest_hash", "0123456789" * 4),
        ("run_id", "0123456789abcdef"),
        ("key_size", 64),
        ("n_tokens", 10**12),
        ("secret", ""),
        ("author", "someone"),
        ("text", "the private key of the castle"),
    ],
)
def test_not_a_secret(key, value):
    assert redact({key: value}) == {key: value}


def test_login_in_a_url_goes_and_the_rest_stays():
    assert redact("s3://me:pw123@host/path") == f"s3://{REDACTED}@host/path"
    assert (
        redact("Authorization: Bearer abcdefghijklmnop123") == f"Authorization: Bearer {REDACTED}"
    )


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("ValueError: password=abc is wrong", f"ValueError: password={REDACTED} is wrong"),
        ("--wandb-api-key abc --x 1", f"--wandb-api-key {REDACTED} --x 1"),
        ('{"hf_token": "abcdefghijkl", "b": 1}', f'{{"hf_token": "{REDACTED}", "b": 1}}'),
        ("+api_key = 'abc'", f"+api_key = '{REDACTED}'"),
        ("redis://:pw@host", f"redis://{REDACTED}@host"),
        ("https://key123@host/x.git", f"https://{REDACTED}@host/x.git"),
        ("https://h/x?a=1&X-Amz-Signature=ab&b", f"https://h/x?a=1&X-Amz-Signature={REDACTED}&b"),
        ("-----BEGIN PRIVATE KEY-----\na\n-----END PRIVATE KEY-----\nb", f"{REDACTED}\nb"),
    ],
)
def test_in_a_text_what_follows_a_secret_name_goes(text, clean):
    assert redact(text) == clean
    assert redact(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "def f(password: str = None):",
        "token = os.environ['HF_TOKEN']",
        "snapshots/0123456789012345678901234567890123456789/x.parquet",
        "my-sk-learn-experiment-with-a-long-name",
        "ssh://git@host/x.git",
        "eos_token=</s> n_tokens=100000000000000",
    ],
)
def test_what_only_speaks_of_one_stays(text):
    assert redact(text) == text


def test_keys_go_too_and_no_entry_is_lost():
    key = "hf_" + "a" * 30
    assert redact({key: 1, key + "b": 2}) == {REDACTED: 1, f"{REDACTED}'": 2}


def test_the_original_is_not_changed():
    original = {"a": {"password": "x"}}
    redact(original)
    assert original == {"a": {"password": "x"}}
