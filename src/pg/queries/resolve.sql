-- Oids of the tables with the names ($1[i], $2[i]). Names of tables that do not exist give no row.
SELECT c.oid::int8 AS oid
FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS wanted(schema, name)
JOIN pg_catalog.pg_namespace n ON n.nspname::text = wanted.schema
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname::text = wanted.name
WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
