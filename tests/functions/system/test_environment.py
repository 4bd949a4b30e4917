"""Environment variables: what is stored, and each rule at its limit and one beyond (spec 02 15)."""

from __future__ import annotations

from typing import Any

import pytest

from log import limits
from log.errors import BackendError

from ...support.deployment import Deployment

Change = tuple[str, str | None]


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


def update(deployment: Deployment, *changes: Change) -> Any:
    body = {"changes": [{"name": name, "value": value} for name, value in changes]}
    return deployment.operate("update_environment_variables", body)


def refusal_of(deployment: Deployment, *changes: Change) -> BackendError:
    before = deployment.database.catalog.environment
    with pytest.raises(BackendError) as raised:
        update(deployment, *changes)
    assert deployment.database.catalog.environment == before, "a refused request changes nothing"
    return raised.value


def test_set_replace_and_unset_in_one_commit_each(deployment: Deployment) -> None:
    assert update(deployment, ("A", "1"), ("B", "2")) is None
    update(deployment, ("A", "3"), ("B", None))
    assert deployment.database.catalog.environment == {"A": "3"}
    assert [row["name"] for row in deployment.database.documents("_environment_variables")] == ["A"]


def test_deletions_come_before_sets(deployment: Deployment) -> None:
    update(deployment, ("A", "1"))
    update(deployment, ("A", "2"), ("A", None))
    assert deployment.database.catalog.environment == {"A": "2"}


def test_unsetting_what_is_not_set_is_no_error(deployment: Deployment) -> None:
    update(deployment, ("A", None))
    assert deployment.database.catalog.environment == {}


def test_an_unchanged_value_commits_nothing(deployment: Deployment) -> None:
    update(deployment, ("A", "1"))
    before = deployment.database.committer.published_ts
    update(deployment, ("A", "1"))
    assert deployment.database.committer.published_ts == before


def test_the_list_is_sorted_and_has_no_built_in_names(deployment: Deployment) -> None:
    update(deployment, ("B", "2"), ("A", "1"))
    answer = deployment.operate("list_environment_variables")
    assert list(answer["environmentVariables"].items()) == [("A", "1"), ("B", "2")]


@pytest.mark.parametrize("name", ["A", "_", "_a1", "a" * limits.ENVIRONMENT_NAME_LENGTH_MAX])
def test_valid_names_are_accepted(deployment: Deployment, name: str) -> None:
    update(deployment, (name, "v"))
    assert deployment.database.catalog.environment == {name: "v"}


@pytest.mark.parametrize("name", ["", "1X", "a b", "a-b", "é", "A\n"])
def test_invalid_names_are_refused(deployment: Deployment, name: str) -> None:
    assert refusal_of(deployment, (name, "v")).code == "EnvironmentVariableNameInvalid"


def test_a_name_one_character_too_long_is_refused(deployment: Deployment) -> None:
    refusal = refusal_of(deployment, ("a" * (limits.ENVIRONMENT_NAME_LENGTH_MAX + 1), "v"))
    assert refusal.code == "EnvironmentVariableNameTooLong"


def test_values_are_measured_in_bytes(deployment: Deployment) -> None:
    longest = "é" * (limits.ENVIRONMENT_VALUE_BYTES_MAX // 2)
    update(deployment, ("A", longest))
    assert refusal_of(deployment, ("A", longest + "x")).code == "EnvironmentVariableValueTooLarge"


def test_built_in_names_cannot_be_set(deployment: Deployment) -> None:
    refusal = refusal_of(deployment, ("CONVEX_CLOUD_URL", "x"))
    expected = 'Environment variable with name "CONVEX_CLOUD_URL" is built-in and cannot be overridden'
    assert (refusal.code, refusal.message) == ("EnvVarNameForbidden", expected)


def test_one_variable_beyond_the_limit_is_refused(deployment: Deployment) -> None:
    update(deployment, *((f"V{number}", "") for number in range(limits.ENVIRONMENT_VARIABLES_MAX)))
    assert refusal_of(deployment, ("ONE_MORE", "")).code == "EnvVarLimitMet"
    update(deployment, ("V0", None), ("ONE_MORE", ""))
    assert len(deployment.database.catalog.environment) == limits.ENVIRONMENT_VARIABLES_MAX


def test_all_names_and_values_together_are_limited(deployment: Deployment) -> None:
    count = limits.ENVIRONMENT_TOTAL_BYTES_MAX // limits.ENVIRONMENT_VALUE_BYTES_MAX
    value = "x" * (limits.ENVIRONMENT_VALUE_BYTES_MAX - 3)
    update(deployment, *((f"V{number:02}", value) for number in range(count)))
    assert refusal_of(deployment, ("X", "")).code == "EnvVarTotalSizeLimitMet"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"changes": {}},
        {"changes": [7]},
        {"changes": [{"value": "v"}]},
        {"changes": [{"name": "A", "value": 7}]},
    ],
)
def test_a_body_of_another_shape_is_refused(deployment: Deployment, body: Any) -> None:
    with pytest.raises(BackendError) as raised:
        deployment.operate("update_environment_variables", body)
    assert raised.value.code == "BadJsonBody"


def test_a_variable_changed_between_preparing_and_applying_is_a_409(deployment: Deployment) -> None:
    body = {"changes": [{"name": "A", "value": "1"}]}
    prepared = deployment.prepare("update_environment_variables", body)
    update(deployment, ("B", "2"))
    with pytest.raises(BackendError) as raised:
        deployment.apply("update_environment_variables", body, prepared)
    assert raised.value.code == "ConcurrentPush"
