"""Refusals of exports and imports: one constructor per code (spec 02 18, 19).

The CLI prints the texts of failed imports as they are, so those that are specified stand here word for word.
"""

from __future__ import annotations

from log.errors import BackendError, ErrorKind, bad_request

# --- exports ------------------------------------------------------------------------------------------


def export_in_progress() -> BackendError:
    return bad_request("ExportInProgress", "There is already an export requested or in progress.")


def export_not_found() -> BackendError:
    return BackendError(ErrorKind.NOT_FOUND, "ExportNotFound", "There is no such export, or it has expired.")


def export_not_complete() -> BackendError:
    return bad_request("ExportNotComplete", "The export is not complete.")


def bad_snapshot_id(found: str) -> BackendError:
    return bad_request("BadSnapshotId", f"{found!r} is neither a timestamp nor the id of an export.")


# --- streaming export ---------------------------------------------------------------------------------


def snapshot_too_old() -> BackendError:
    return bad_request(
        "SnapshotTooOld",
        "What was committed after `cursor` is no longer kept. Begin a new snapshot: call list_snapshot "
        "without `snapshot` and `cursor`.",
    )


def timestamp_not_reached(ts: int) -> BackendError:
    return bad_request(
        "TimestampNotReached", f"No commit of this deployment is as new as {ts}. Begin a new snapshot."
    )


def table_was_imported(name: str) -> BackendError:
    return bad_request(
        "TableWasImported",
        f"An import has put the table `{name}` in place since. Begin a new snapshot: deltas do not tell it.",
    )


# --- the request of an import -------------------------------------------------------------------------


def while_importing(failure: BackendError) -> str:
    """The text of a failed import, as its row keeps it."""
    return f"Hit an error while importing:\n{failure.message}"


IMPORT_CANCELED = "Import canceled"
"""The text of an import that was cancelled: nothing was hit."""


def import_not_found() -> BackendError:
    return BackendError(ErrorKind.NOT_FOUND, "ImportNotFound", "There is no such import.")


def invalid_import(why: str) -> BackendError:
    return bad_request("InvalidImport", why)


def invalid_import_name(why: str) -> BackendError:
    return bad_request("InvalidName", why)


def invalid_import_table(name: str, why: str) -> BackendError:
    return bad_request("ImportInvalidName", f'"{name}" isn\'t a valid table name: {why}')


def cannot_cancel_import() -> BackendError:
    return bad_request("CannotCancelImport", "The import has ended; it cannot be canceled any more.")


def import_interrupted() -> BackendError:
    return BackendError(
        ErrorKind.OPERATIONAL,
        "ImportInterrupted",
        "The server was restarted during the import. Import the data again.",
    )


# --- rows of an import --------------------------------------------------------------------------------


def not_utf8(why: str) -> BackendError:
    return bad_request("NotUtf8", f"Import wasn't valid UTF8: {why}")


def bom_not_supported() -> BackendError:
    return bad_request(
        "Utf8BomNotSupported", "UTF-8 BOM is not supported. Please save your file without BOM."
    )


def csv_without_headers() -> BackendError:
    return bad_request("CsvMissingHeaders", "CSV file doesn't have headers")


def invalid_csv_header(header: str, why: str) -> BackendError:
    return bad_request("CsvInvalidHeader", f'CSV header "{header}" isn\'t a valid field name: {why}')


def csv_row_length(number: int) -> BackendError:
    return bad_request(
        "CsvRowMissingFields", f"CSV row {number} doesn't have all of the fields in the header"
    )


def invalid_csv_row(number: int, why: str) -> BackendError:
    return bad_request("CsvInvalidRow", f"Failed to parse CSV row {number}: {why}")


def invalid_json_row(number: int, why: str) -> BackendError:
    return bad_request("JsonInvalidRow", f"Row {number} wasn't valid JSON: {why}")


def invalid_row_value(number: int, why: str) -> BackendError:
    return bad_request("InvalidConvexValue", f"Row {number} wasn't a valid Convex value: {why}")


def row_not_an_object(number: int) -> BackendError:
    return bad_request("NotAnObject", f"Row {number} wasn't an object")


def not_a_json_array() -> BackendError:
    return bad_request("NotJsonArray", "Not a JSON array")


def invalid_json(why: str) -> BackendError:
    return bad_request("NotJson", f"Not valid JSON: {why}")


def json_array_too_large(size_bytes: int, bytes_max: int) -> BackendError:
    return bad_request(
        "JsonArrayTooLarge",
        f"Import is too large for JSON ({size_bytes} bytes > maximum {bytes_max}). "
        "Consider converting data to JSONLines",
    )


def invalid_row_id(number: int, why: str) -> BackendError:
    return bad_request("ImportInvalidId", f"Row {number} has an _id that is none: {why}")


def id_of_another_table(number: int, document_id: str) -> BackendError:
    return bad_request(
        "ImportInvalidId",
        f"Row {number} has an _id of another table than the rows before it: {document_id}",
    )


def duplicate_id(document_id: str, table: str) -> BackendError:
    return bad_request("DuplicateId", f'The _id {document_id} is in table "{table}" twice')


# --- tables of an import ------------------------------------------------------------------------------


def table_exists(name: str) -> BackendError:
    return bad_request(
        "TableExists",
        f"Table {name} already exists. Please choose a new table name or use replace/append modes.",
    )


def table_conflict(name: str, existing: str) -> BackendError:
    return bad_request(
        "TableConflict",
        f"New table `{name}` has IDs that conflict with existing table `{existing}`. Remove the _id fields, "
        f"or import `{existing}` as well.",
    )


def table_number_conflict(name: str) -> BackendError:
    return bad_request(
        "TableNumberConflict",
        f"The ids in the import are not those of the existing table `{name}`. Remove the _id fields, or use "
        "replace mode.",
    )


def foreign_key(name: str, referenced: str) -> BackendError:
    return bad_request(
        "ImportForeignKey",
        f"Table `{name}` refers to table `{referenced}`, whose ids the import changes. Import both, or "
        "remove the _id fields.",
    )


def import_schema_changed() -> BackendError:
    return bad_request(
        "ImportSchemaChanged", "The schema or the indexes changed while the import was under way."
    )


def import_component_deleted(path: str) -> BackendError:
    return bad_request(
        "ImportComponentDeleted", f"The component '{path}' was deleted while the import was under way."
    )


def still_backfilling(name: str) -> BackendError:
    return invalid_import(
        f"{name} is still backfilling indexes, so it cannot be replaced. Wait for indexes to complete "
        "backfilling"
    )


def import_not_a_zip(why: str) -> BackendError:
    return invalid_import(f"The upload is not a ZIP that can be read: {why}")


def file_not_in_zip(file_id: str) -> BackendError:
    return invalid_import(f"The ZIP lists the file {file_id}, but does not hold it.")


def file_differs(file_id: str) -> BackendError:
    return invalid_import(f"The file {file_id} is not what the ZIP says: its SHA-256 differs.")
