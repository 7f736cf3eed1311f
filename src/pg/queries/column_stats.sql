-- Widths, NULL fractions and correlations from ANALYZE, as far as the role may see them.
SELECT c.oid::int8 AS table_oid,
       s.attname AS name,
       s.avg_width AS width,
       (s.null_frac::float8 * 1000000)::int4 AS null_ppm,
       (s.correlation::float8 * 1000000)::int4 AS correlation_ppm
FROM pg_catalog.pg_stats s
JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename
WHERE s.inherited = (c.relkind = 'p')
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
  AND c.relkind IN ('r', 'p', 'm')
  AND ($1::oid[] IS NULL OR c.oid = ANY ($1::oid[]))
