"""A log loses its secrets and nothing else, however it is cut into pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.jobs.log_mask import Mask

SECRET = "hunter2-hunter2"
PEM = "-----BEGIN KEY-----\nabcdefgh\nijklmnop\n-----END KEY-----"


def masked(*pieces, secrets=(SECRET,)):
    mask = Mask(secrets)
    return b"".join([*(mask.feed(piece) for piece in pieces), mask.feed(b"", last=True)])


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (b"pw=hunter2-hunter2!\n", b"pw=***************!\n"),
        (b"hunter2-hunter2-hunter2\n", b"***************-hunter2\n"),
        (b"Authorization: Bearer abc.def\r\n", b"Authorization: Bearer *******\r\n"),
        (b"{'authorization': 'Basic Zm9v', 'a': 1}", b"{'authorization': 'Basic ****', 'a': 1}"),
        (b"token rgt_1a2b3c4d_xyz used", b"token **************** used"),
        (b"nothing here \x00\xff\n", b"nothing here \x00\xff\n"),
    ],
)
def test_secrets_headers_and_our_own_tokens_are_starred_out(written, kept):
    assert masked(written) == kept


def test_a_secret_of_many_lines_is_found_whole_and_line_by_line():
    assert masked(PEM.encode(), secrets=[PEM]) == b"*" * len(PEM)
    assert masked(b"> ijklmnop <", secrets=[PEM]) == b"> ******** <"


def test_a_secret_too_short_to_be_one_is_left_alone():
    assert masked(b"a cat is a cat", secrets=["cat"]) == b"a cat is a cat"


def test_what_may_be_the_beginning_of_a_secret_waits_for_the_rest():
    mask = Mask([SECRET])
    assert mask.feed(b"so: hunter2-") == b"so: "
    assert mask.held_bytes == 8
    assert mask.feed(b"gatherer\n") == b"hunter2-gatherer\n"
    assert mask.held_bytes == 0


def test_a_character_is_not_parted():
    mask = Mask([])
    assert mask.feed("naïve 训".encode()[:-1]) == "naïve ".encode()
    assert mask.feed("训".encode()[-1:]) == "训".encode()


def test_what_was_skipped_still_tells_how_the_line_began():
    mask = Mask([])
    mask.skip(b"x\nAuthorization: Bearer ")
    assert mask.feed(b"abcdef\n") == b"******\n"


@given(
    st.lists(
        st.sampled_from(
            [
                SECRET.encode(),
                b"hunter2",
                b"\n",
                b"authorization: Bearer tok",
                b"-",
                b"\xc3",
                b"\xa9",
            ]
        ),
        max_size=12,
    ),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_however_it_is_cut_no_secret_is_left_and_every_length_is_kept(words, cuts):
    text = b"".join(words)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in pairwise(places)]
    kept = masked(*pieces)
    assert SECRET.encode() not in kept
    assert len(kept) == len(text)
    assert all(new in {old, ord("*")} for old, new in zip(text, kept, strict=True))
