"""What one request to a collection may hold, by strict modes made here; what a stub says of them is test_client's."""

import pytest
from qdrant_client.models import StrictModeConfigOutput

from ragkit import RagkitError
from ragkit.engines._limits import Limits
from ragkit.engines._retries import TooLarge

EACH = {
    "max_query_limit": 50,
    "upsert_max_batchsize": 20,
    "write_rate_limit": 10,
    "condition_max_size": 5,
    "filter_max_conditions": 3,
    "read_rate_limit": 40,
    "search_max_batchsize": 2,
    "max_timeout": 7,
    "search_allow_exact": False,
}


def told(limits):
    return (
        limits.page,
        limits.batch,
        limits.ids,
        limits.searches,
        limits.timeout(60),
        limits.conditions(32),
        limits.exact,
    )


def test_each_setting_of_a_strict_mode_limits_what_it_names():
    assert told(Limits("Here", StrictModeConfigOutput(enabled=True, **EACH))) == (50, 10, 5, 2, 7, 3, False)


@pytest.mark.parametrize(
    "strict", [None, StrictModeConfigOutput(**EACH), StrictModeConfigOutput(enabled=False, **EACH)]
)
def test_a_strict_mode_that_is_not_enabled_limits_nothing(strict):
    assert told(Limits("Here", strict)) == told(Limits("Here", StrictModeConfigOutput(enabled=True)))
    assert told(Limits("Here", strict))[1:3] == (None, None) and Limits("Here", strict).timeout(60) == 60
    Limits("Here", strict).allow(51)


def test_a_condition_and_a_row_count_alike_in_a_read_rate_and_one_condition_is_always_tried():
    limits = Limits("Here", StrictModeConfigOutput(enabled=True, read_rate_limit=40))
    assert [limits.conditions(rows) for rows in (1, 32, 39, 40, 50)] == [39, 8, 1, 1, 1]


def test_a_timeout_is_the_shorter_one():
    limits = Limits("Here", StrictModeConfigOutput(enabled=True, max_timeout=7))
    assert (limits.timeout(5), limits.timeout(7), limits.timeout(8)) == (5, 7, 7)


def test_more_documents_than_a_query_may_have_are_refused_by_the_settings_name():
    limits = Limits("Here", StrictModeConfigOutput(enabled=True, max_query_limit=50))
    limits.allow(50, 10)
    with pytest.raises(RagkitError, match=r"Here gives a query at most 50 .*max_query_limit.*51 are asked for"):
        limits.allow(10, 51)


def test_what_was_too_large_is_halved_and_stays_so():
    limits, asked = Limits("Here", None), []

    def ask(part):
        asked.append(len(part))
        if len(part) > 3:
            raise TooLarge("413")
        return [item * 10 for item in part]

    assert limits.in_parts("ids", range(10), 100, ask) == [item * 10 for item in range(10)]
    assert asked == [10, 5, 2, 2, 2, 2, 2]
    asked.clear()
    limits.in_parts("ids", range(4), 100, ask)
    limits.in_parts("others", range(3), 100, ask)  # what is known of one says nothing of another
    limits.in_parts("ids", range(2), 1, ask)
    assert asked == [2, 2, 3, 1, 1]


def test_one_that_is_too_large_alone_is_an_error():
    def refuse(part):
        raise TooLarge("413")

    with pytest.raises(TooLarge):
        Limits("Here", None).in_parts("ids", [1], 100, refuse)
