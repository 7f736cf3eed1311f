-- The cluster and the database: what must be the same cluster again when the plan is applied.
SELECT control.system_identifier::text AS system_identifier,
       d.datname AS database,
       d.oid::int8 AS database_oid,
       pg_catalog.current_setting('server_version_num')::int4 AS version_num,
       pg_catalog.pg_encoding_to_char(d.encoding) AS encoding,
       d.datcollate AS collate,
       d.datctype AS ctype
FROM pg_catalog.pg_database d, pg_catalog.pg_control_system() control
WHERE d.datname = pg_catalog.current_database()
