-- Schemas of users, with their owners and grants.
SELECT n.nspname AS name,
       pg_catalog.pg_get_userbyid(n.nspowner) AS owner,
       COALESCE(n.nspacl::text[], '{}') AS grants
FROM pg_catalog.pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
