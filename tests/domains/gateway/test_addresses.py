"""Where the server sends a key, and where it does not."""

import pytest

from agentvine.domains.gateway.addresses import check_base_url, resolve
from agentvine.domains.gateway.errors import ProviderAddressForbidden


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.org/v1",
        "ftp://api.example.org",
        "file:///etc/passwd",
        "https://",
        "https://user:word@api.example.org",
        "https://api.example.org/v1?key=1",
        "https://api.example.org/#x",
        "https://api.example.org:99999/",
        "https://api.example.org\\@127.0.0.1/",
        "https://localhost:11434/v1",
        "https://127.0.0.1/v1",
        "https://10.0.0.1/v1",
        "https://192.168.1.5/v1",
        "https://[::1]/v1",
        "https://[fd12::1]/v1",
        "https://[::ffff:10.0.0.1]/v1",
        "https://[64:ff9b::a00:1]/v1",
        "https://100.64.0.1/v1",
    ],
)
def test_an_owner_of_a_project_cannot_name_an_address_inside(url: str):
    with pytest.raises(ProviderAddressForbidden):
        check_base_url(url, may_be_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://[fe80::1]/v1",
        "http://[fd00:ec2::254]/v1",
        "http://100.100.100.200/",
        "http://0.0.0.0:8420/",
        "http://[::]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::]/",
    ],
)
def test_nobody_can_name_where_clouds_hand_out_credentials(url: str):
    with pytest.raises(ProviderAddressForbidden):
        check_base_url(url, may_be_private=True)


@pytest.mark.parametrize(
    ("url", "may_be_private"),
    [
        ("https://api.example.org/v1/", False),
        ("https://8.8.8.8/v1", False),
        ("http://127.0.0.1:11434/v1", True),
        ("http://ollama.local:11434/v1", True),
        ("http://192.168.1.5/v1", True),
        ("https://[::1]:8443", True),
    ],
)
def test_what_is_allowed_is_kept_without_its_last_slash(url: str, may_be_private: bool):
    assert check_base_url(url, may_be_private=may_be_private) == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "may_be_private"),
    [
        ("https://localhost/v1", False),  # a name that leads inside, whatever it is called
        ("http://8.8.8.8/v1", True),  # plain http, to everybody's ears
        ("http://169.254.169.254/", True),
    ],
)
async def test_the_address_that_is_called_is_judged_again(url: str, may_be_private: bool):
    with pytest.raises(ProviderAddressForbidden):
        await resolve(url, may_be_private=may_be_private)


async def test_a_name_is_looked_up_to_the_addresses_that_may_be_connected_to():
    found = await resolve("http://localhost:11434/v1", may_be_private=True)

    assert (found.host, found.port) == ("localhost", 11434)
    assert found.addresses
    assert all(address.is_loopback for address in found.addresses)
