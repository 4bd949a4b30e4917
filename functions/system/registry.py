"""Which name runs which system function: the only place that lists them all (spec 02 2, 17, 21)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from functions.system import (
    admin_keys,
    backend_state,
    canonical_urls,
    dashboard,
    dashboard_edits,
    deletions,
    deployment_events,
    environment,
    exports,
    files,
    imports,
    jobs,
    json_schemas,
    push,
    push_activation,
    queries,
    streaming_export,
)
from functions.system.forecast import evaluate_schemas, prepare_schemas
from functions.system.operation import Operation, SystemContext, SystemFunction
from functions.transaction import Transaction

OPERATIONS: dict[str, Operation] = {
    "get_config_hashes": Operation(push.get_config_hashes),
    "evaluate_schema": Operation(evaluate_schemas, prepare_schemas),
    "evaluate_push": Operation(push.evaluate_push, push.prepare_push, packages=push.pushed_packages),
    "start_push": Operation(push.start_push, push.prepare_push, packages=push.pushed_packages),
    "wait_for_schema": Operation(push.wait_for_schema),
    "finish_push": Operation(push_activation.finish_push),
    "report_push_completed": Operation(push.report_push_completed),
    "update_environment_variables": Operation(
        environment.update_environment_variables, environment.prepare_update
    ),
    "list_environment_variables": Operation(environment.list_environment_variables),
    "get_canonical_urls": Operation(canonical_urls.get_canonical_urls),
    "update_canonical_url": Operation(canonical_urls.update_canonical_url, canonical_urls.prepare_update),
    "cancel_job": Operation(jobs.cancel_job),
    "cancel_all_jobs": Operation(jobs.cancel_all_jobs),
    "revoke_admin_keys": Operation(admin_keys.revoke_admin_keys),
    "pause_deployment": Operation(backend_state.pause_deployment),
    "unpause_deployment": Operation(backend_state.unpause_deployment),
    "delete_tables": Operation(deletions.delete_tables),
    "delete_component": Operation(deletions.delete_component),
    "delete_scheduled_functions": Operation(deletions.delete_scheduled_functions),
    "table_shapes": Operation(queries.table_shapes),
    "store_file": Operation(files.store_file),
    "locate_file": Operation(files.locate_file),
    "request_export": Operation(exports.request_export),
    "cancel_export": Operation(exports.cancel_export),
    "set_export_expiration": Operation(exports.set_export_expiration),
    "locate_export": Operation(exports.locate_export),
    "create_import": Operation(imports.create_import),
    "perform_import": Operation(imports.perform_import),
    "cancel_import": Operation(imports.cancel_import),
    "list_snapshot": Operation(streaming_export.list_snapshot, reads_at=streaming_export.snapshot_ts_of),
    "json_schemas": Operation(json_schemas.json_schemas),
    "get_table_column_names": Operation(json_schemas.table_column_names),
}
"""HTTP operations by the last part of their path; those on files are for the gateway alone, and have none."""

_Run = Callable[[Transaction, dict[str, Any], SystemContext], Any]

_QUERIES: dict[str, _Run] = {
    "_system/cli/tables.js:default": queries.list_tables,
    "_system/cli/tableData.js:default": queries.table_data,
    "_system/cli/tableSize.js:default": queries.table_size,
    "_system/cli/queryTable.js:default": queries.query_table,
    "_system/cli/queryEnvironmentVariables.js:default": queries.environment_variables,
    "_system/cli/queryEnvironmentVariables.js:get": queries.environment_variable,
    "_system/cli/modules.js:apiSpec": queries.api_spec,
    "_system/cli/convexUrl.js:cloudUrl": canonical_urls.cloud_url,
    "_system/cli/exports.js:getLatest": exports.latest_export,
    "_system/cli/queryImport.js:default": imports.get_import,
    "_system/cli/queryImport.js:list": imports.list_imports,
    "_system/frontend/components.js:list": queries.components,
    "_system/frontend/getTableMapping.js:default": queries.table_mapping,
    "_system/frontend/getVersion.js:default": queries.pushed_version,
    "_system/frontend/getSchemas.js:default": queries.schemas,
    "_system/frontend/getSchemas.js:schemaValidationProgress": queries.nothing,
    "_system/frontend/getById.js:default": queries.document_by_id,
    "_system/frontend/listById.js:default": queries.documents_by_id,
    "_system/frontend/convexCloudUrl.js:default": canonical_urls.cloud_url,
    "_system/frontend/convexSiteUrl.js:default": canonical_urls.site_url,
    "_system/frontend/listEnvironmentVariables.js:default": queries.environment_variables,
    "_system/frontend/deploymentEvents.js:lastPushEvent": deployment_events.last_push,
    "_system/frontend/paginatedDeploymentEvents.js:default": deployment_events.event_page,
    "_system/frontend/listDeploymentEventsFromTime.js:default": deployment_events.events_from,
    "_system/frontend/deploymentState.js:deploymentState": backend_state.deployment_state,
    "_system/frontend/backendState.js:backendState": backend_state.backend_state,
    "_system/frontend/tableSize.js:default": queries.table_size,
    "_system/frontend/tableSize.js:sizeOfAllTables": queries.size_of_all_tables,
    "_system/frontend/indexes.js:default": queries.table_indexes,
    "_system/frontend/listAuthProviders.js:default": queries.auth_providers,
    "_system/frontend/listConfiguredSinks.js:default": queries.empty_list,
    "_system/frontend/modules.js:list": dashboard.modules,
    "_system/frontend/modules.js:listForAllComponents": dashboard.modules_of_all_components,
    "_system/frontend/modules.js:argsValidator": dashboard.args_validator,
    "_system/frontend/listCronJobs.js:default": dashboard.cron_jobs,
    "_system/frontend/listCronJobRuns.js:default": dashboard.cron_runs,
    "_system/frontend/paginatedScheduledJobs.js:default": dashboard.pending_jobs,
    "_system/frontend/fileStorageV2.js:numFiles": dashboard.file_count,
    "_system/frontend/fileStorageV2.js:fileMetadata": dashboard.file_page,
    "_system/frontend/fileStorageV2.js:getFile": dashboard.file_by_id,
    "_system/frontend/paginatedTableDocuments.js:default": dashboard.document_page,
    "_system/frontend/scheduler.js:getArgs": dashboard.job_arguments,
    "_system/frontend/snapshotImport.js:list": imports.list_imports,
    "_system/frontend/latestExport.js:default": exports.latest_export,
    "_system/frontend/latestExport.js:latestCloudExport": queries.nothing,
    "_system/frontend/latestExport.js:canExportFileStorage": dashboard.can_export_files,
    "_system/frontend/node.js:version": queries.nothing,
    "_system/tidelog/adminKeys.js:revoked": admin_keys.revoked_admin_keys,
}

_MUTATIONS: dict[str, _Run] = {
    "_system/frontend/addDocument.js:default": dashboard_edits.add_document,
    "_system/frontend/replaceDocument.js:default": dashboard_edits.replace_document,
    "_system/frontend/patchDocumentsFields.js:default": dashboard_edits.patch_documents,
    "_system/frontend/deleteDocuments.js:default": dashboard_edits.delete_documents,
    "_system/frontend/clearTablePage.js:default": dashboard_edits.clear_table_page,
    "_system/frontend/createTable.js:default": dashboard_edits.create_table,
    "_system/frontend/fileStorageV2.js:deleteFile": dashboard_edits.delete_file,
    "_system/frontend/fileStorageV2.js:deleteFiles": dashboard_edits.delete_files,
    "_system/frontend/fileStorageV2.js:generateUploadUrl": dashboard_edits.create_upload_url,
}

SYSTEM_FUNCTIONS: dict[str, SystemFunction] = {
    **{path: SystemFunction("Query", run) for path, run in _QUERIES.items()},
    **{path: SystemFunction("Mutation", run) for path, run in _MUTATIONS.items()},
}
"""Functions a client with an admin key may call, by canonical path."""
