"""Refusals of pushes and of deployment operations: one constructor per code (spec 02 5-15).

The CLI reads some of these texts (spec 02 12): "Environment variable X " and "are not set: A, B." are
parsed, and the status decides what `npx convex dev` does next. A 400 waits for an edit, anything else
makes it push again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from log import limits
from log.errors import BackendError, ErrorKind, bad_json_body, bad_request


def while_pushing(failure: BackendError) -> BackendError:
    """The same refusal with the first line every failed push prints."""
    message = f"Hit an error while pushing:\n{failure.message}"
    return BackendError(failure.kind, failure.code, message, failure.data)


_Parameters = ParamSpec("_Parameters")
_Answer = TypeVar("_Answer")


def pushing(run: Callable[_Parameters, _Answer]) -> Callable[_Parameters, _Answer]:
    """Refusals of `run` begin with the line every failed push prints (spec 02 12)."""

    @wraps(run)
    def wrapped(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Answer:
        try:
            return run(*args, **kwargs)
        except BackendError as failure:
            raise while_pushing(failure) from failure

    return wrapped


def while_evaluating_schema(failure: BackendError) -> BackendError:
    message = f"Hit an error while evaluating your schema:\n{failure.message}"
    return BackendError(failure.kind, failure.code, message, failure.data)


# --- the request ------------------------------------------------------------------------------------


def bad_push_body(fault: str) -> BackendError:
    return bad_json_body(f"The push request cannot be read: {fault}")


def node_version_not_supported(version: str) -> BackendError:
    return bad_request(
        "NodeVersionNotSupported", f"Node.js {version} is not supported. Use version 20 or newer."
    )


def too_many_function_files(count: int, folder: str) -> BackendError:
    return bad_request(
        "InvalidModules",
        f'Too many function files ({count} > maximum {limits.PUSH_FUNCTION_FILES_MAX}) in "{folder}". '
        "Move code that defines no functions out of that folder.",
    )


def modules_too_large(size_bytes: int) -> BackendError:
    return bad_request(
        "ModulesTooLarge",
        f"The pushed modules have {size_bytes} bytes, the maximum is {limits.PUSH_MODULES_BYTES_MAX} bytes.",
    )


def node_actions_not_supported(definition_path: str, module_path: str) -> BackendError:
    return bad_request(
        "NodeActionsNotSupported",
        f"Node actions are not supported in components. Remove {module_path} from {definition_path}",
    )


def push_message_too_long() -> BackendError:
    return bad_request(
        "PushMessageTooLong", f"A push message has at most {limits.PUSH_MESSAGE_BYTES_MAX} bytes."
    )


def _stale_module(code: str, path: str, fault: str) -> BackendError:
    """409: the CLI asks for the hashes again and pushes again (spec 02 5)."""
    return BackendError(ErrorKind.CONFLICT, code, f"Module {path} was pushed as unchanged, but {fault}.")


def missing_existing_module(path: str) -> BackendError:
    return _stale_module("MissingExistingModule", path, "the deployment has no such module")


def missing_existing_module_source(path: str) -> BackendError:
    return _stale_module("MissingExistingModuleMetadata", path, "its source is no longer stored")


def existing_module_hash_conflict(path: str) -> BackendError:
    return _stale_module("ExistingModuleHashConflict", path, "the deployment has another version of it")


def existing_module_environment_conflict(path: str) -> BackendError:
    return _stale_module("ExistingModuleEnvConflict", path, "the deployment runs it in another environment")


# --- evaluation -------------------------------------------------------------------------------------


def invalid_modules(path: str, text: str) -> BackendError:
    """`text` is the JavaScript error with its frames, or what is wrong with an export."""
    return bad_request(
        "InvalidModules",
        "Loading the pushed modules encountered the following\n    error:\n"
        f"Failed to analyze {path}: {text.rstrip()}",
    )


def invalid_external_modules(path: str, text: str) -> BackendError:
    """`text` is the JavaScript error of a package that was installed and does not load."""
    return bad_request(
        "InvalidExternalModules",
        "Loading the pushed modules encountered the following\n    error:\n"
        f"Failed to analyze {path}: {text.rstrip()}\n"
        "It comes from a package of `node.externalPackages` in convex.json. Packages are installed without "
        "running their scripts.",
    )


def invalid_app_config(code: str, text: str) -> BackendError:
    return bad_request(code, text.rstrip())


def invalid_env_declaration(name: str, fault: str) -> BackendError:
    return bad_request("InvalidEnvVarDeclaration", f'The environment variable declaration "{name}" {fault}.')


# --- components (spec 02 7, 9.6, 11) ------------------------------------------------------------------


def cyclic_import(definition_paths: list[str]) -> BackendError:
    """`definition_paths` begins and ends with the same definition."""
    return bad_request(
        "CyclicImport", f"Component definitions depend on one another: {' -> '.join(definition_paths)}"
    )


def environment_unsupported(definition_path: str) -> BackendError:
    return bad_request(
        "EnvironmentVariablesUnsupported",
        f"The `convex.config.ts` of component {definition_path} reads `process.env`, "
        "which only the app's may. Declare the variable with `defineComponent` and let the parent bind it.",
    )


def invalid_export(definition_path: str, export: str) -> BackendError:
    return bad_request(
        "InvalidExport",
        f"Component {definition_path} exports both a function and a folder or module as `{export}`.",
    )


def component_name_invalid(name: str) -> BackendError:
    return _typecheck_error(
        f'"{name}" cannot name a component: use letters, digits and underscores, not starting with a digit.'
    )


def component_name_repeated(path: str) -> BackendError:
    return _typecheck_error(f"Component {path} is used twice. Give one of them another `name`.")


def too_many_components() -> BackendError:
    return _typecheck_error(
        f"The app uses more than {limits.COMPONENTS_MAX} components, counting components of components."
    )


def components_too_deep(path: str) -> BackendError:
    return _typecheck_error(
        f"Component {path} is nested deeper than {limits.COMPONENT_DEPTH_MAX} components."
    )


def component_variable_missing(path: str, name: str) -> BackendError:
    return _typecheck_error(f"Component {path} is missing required env var {name}")


def component_variable_unknown(path: str, name: str) -> BackendError:
    return _typecheck_error(f"Component {path} has no env var named {name}")


def component_variable_mismatch(path: str, name: str, fault: str) -> BackendError:
    return _typecheck_error(f"Component {path} cannot be given env var {name}: {fault}")


def http_mount_invalid(mount: str, fault: str) -> BackendError:
    return _typecheck_error(f"HTTP mount {mount} is invalid: {fault}")


def _typecheck_error(text: str) -> BackendError:
    return bad_request("TypecheckError", text)


# --- auth.config.js -----------------------------------------------------------------------------------


def auth_config_missing_variable(text: str) -> BackendError:
    return bad_request("AuthConfigMissingEnvironmentVariable", text.rstrip())


def auth_config_missing_export(text: str) -> BackendError:
    return bad_request("AuthConfigMissingExportError", text.rstrip())


def auth_config_invalid(text: str) -> BackendError:
    return bad_request("InvalidAuthConfig", text.rstrip())


def auth_config_mismatch(detail: str) -> BackendError:
    return bad_request(
        "AuthConfigNotMatchingSchemaError",
        f"auth config file must include a list of provider credentials: {detail}",
    )


def invalid_provider_domain(address: str, fault: str) -> BackendError:
    return bad_request("InvalidProviderDomainUrl", f"Invalid provider domain URL '{address}': {fault}.")


# --- two pushes, or a push and something else ---------------------------------------------------------


def environment_changed() -> BackendError:
    return bad_request("RaceDetected", "Environment variables have changed during push")


def push_replaced() -> BackendError:
    """A later start_push, or a finish_push of this same push, took the staged push away."""
    return bad_request("RaceDetected", "Another push was started or finished while this one was under way")


def schema_not_ready(state: str) -> BackendError:
    return bad_request("RaceDetected", f"The schema of this push is {state}, so it cannot become active")


def indexes_not_ready(names: list[str]) -> BackendError:
    return bad_request("RaceDetected", f"These indexes are not ready to be enabled: {', '.join(names)}")


def table_is_declared(name: str) -> BackendError:
    return bad_request(
        "TableIsInSchema", f"The table `{name}` is in the schema: take it out there and push, then delete it."
    )


def component_must_be_unmounted(path: str) -> BackendError:
    return bad_request(
        "ComponentMustBeUnmounted",
        f"The component `{path}`, or one below it, is mounted: take it out of the app and push first.",
    )


def deployment_not_paused() -> BackendError:
    return bad_request("UnpauseDeploymentFailed", "Deployment is not currently paused.")


def backend_is_not_running() -> BackendError:
    return bad_request("BackendIsNotRunning", "Cannot perform this operation when the backend is not running")


def deployment_changed() -> BackendError:
    """What the analysis relied on was replaced before the push could be staged."""
    return BackendError(
        ErrorKind.CONFLICT,
        "ConcurrentPush",
        "The deployment changed while the push was being analyzed. "
        "Are you running multiple `npx convex dev` processes in the same directory?",
    )


def schema_already_failed(error: str) -> BackendError:
    return bad_request("SchemaAlreadyFailed", f"Schema has already been failed with error: {error}")


# --- environment variables (spec 02 15) ---------------------------------------------------------------


def environment_name_invalid(name: str) -> BackendError:
    return bad_request(
        "EnvironmentVariableNameInvalid",
        f"The environment variable name {name} is invalid. Environment variable names must begin with a "
        "letter and may only include characters a-z, A-Z, 0-9, and underscores.",
    )


def environment_name_too_long(name: str) -> BackendError:
    return bad_request(
        "EnvironmentVariableNameTooLong",
        f"The environment variable name {name} is longer than "
        f"{limits.ENVIRONMENT_NAME_LENGTH_MAX} characters.",
    )


def environment_value_too_large(name: str) -> BackendError:
    return bad_request(
        "EnvironmentVariableValueTooLarge",
        f"The value of environment variable {name} is larger than "
        f"{limits.ENVIRONMENT_VALUE_BYTES_MAX} bytes.",
    )


def environment_too_many() -> BackendError:
    return bad_request(
        "EnvVarLimitMet",
        f"A deployment has at most {limits.ENVIRONMENT_VARIABLES_MAX} environment variables.",
    )


def environment_total_too_large() -> BackendError:
    return bad_request(
        "EnvVarTotalSizeLimitMet",
        "The names and values of all environment variables together are larger than "
        f"{limits.ENVIRONMENT_TOTAL_BYTES_MAX} bytes.",
    )


def environment_name_forbidden(name: str) -> BackendError:
    return bad_request(
        "EnvVarNameForbidden",
        f'Environment variable with name "{name}" is built-in and cannot be overridden',
    )


def required_variables_deleted(names: list[str]) -> BackendError:
    return bad_request(
        "RequiredEnvironmentVariable",
        f"Cannot delete required environment variables: {', '.join(names)}. "
        "These are declared as required in the app definition.",
    )


def required_variables_missing(names: list[str]) -> BackendError:
    return bad_request(
        "MissingEnvironmentVariables",
        f"Required environment variables are not set: {', '.join(names)}. "
        "Set them in the Convex dashboard or CLI before pushing.",
    )


def environment_value_invalid(name: str, why: str) -> BackendError:
    return bad_request(
        "InvalidEnvironmentVariable",
        f"The value of environment variable {name} does not match its declaration: {why}",
    )


# --- addresses of the deployment (spec 02 22) ---------------------------------------------------------


def canonical_url_invalid(why: str) -> BackendError:
    return bad_request("InvalidCanonicalUrl", f"The address cannot be used: {why}.")


# --- inline queries ---------------------------------------------------------------------------------


def invalid_inline_query(fault: str) -> BackendError:
    return bad_request("InvalidTestQuery", fault)


def unsupported_inline_query(kind: str) -> BackendError:
    """`kind` in the plural."""
    return bad_request("UnsupportedTestQuery", f"{kind} are not supported in the REPL yet.")
