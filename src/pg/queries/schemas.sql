-- Schemas of users, with their owners and grants.
SELECT n.nspname AS name,
       pg_catalog.pg_get_userbyid(n.nspowner) AS owner,
       COALESCE(n.nspacl::text[], '{}') AS grants,
       -- To whom tables here cannot be given by whoever reads this.
       CASE WHEN pg_catalog.has_schema_privilege(n.oid, 'CREATE WITH GRANT OPTION') THEN '{}'
         ELSE ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles r
           WHERE pg_catalog.pg_has_role(r.oid, 'USAGE') AND NOT pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')
           ORDER BY 1) END AS kept_from
FROM pg_catalog.pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
