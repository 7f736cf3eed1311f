-- Policies, each with what its expressions need. What PostgreSQL brings with itself is not in pg_depend.
WITH policy AS (
    SELECT p.oid, p.polrelid, p.polname, p.polcmd, p.polpermissive, p.polroles, p.polqual, p.polwithcheck
    FROM pg_catalog.pg_policy p
    JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
      AND ($1::oid[] IS NULL OR c.oid = ANY ($1::oid[]))
), needed AS (
    SELECT d.objid AS policy, d.refclassid, d.refobjid, d.refobjsubid,
           d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = p.polrelid AS is_own
    FROM pg_catalog.pg_depend d
    JOIN policy p ON p.oid = d.objid
    WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND d.deptype = 'n'
)
SELECT p.polrelid::int8 AS table_oid,
       p.polname AS name,
       NOT p.polpermissive AS restrictive,
       p.polcmd AS command,
       ARRAY(
           SELECT pg_catalog.pg_get_userbyid(role)::text
           FROM pg_catalog.unnest(p.polroles) AS role
           WHERE role <> 0
       ) AS roles,
       pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS using,
       pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) AS check,
       ARRAY(
           SELECT DISTINCT a.attname::text
           FROM needed d
           JOIN pg_catalog.pg_attribute a ON a.attrelid = p.polrelid AND a.attnum = d.refobjsubid
           WHERE d.policy = p.oid AND d.is_own AND d.refobjsubid <> 0
       ) AS columns,
       ARRAY(
           SELECT DISTINCT pg_catalog.format('%I.%I(%s)', fn.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes))
           FROM needed d
           JOIN pg_catalog.pg_proc f ON f.oid = d.refobjid
           JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace
           WHERE d.policy = p.oid AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
       ) AS functions,
       ARRAY(
           SELECT DISTINCT CASE
               WHEN d.is_own THEN 'the table itself'
               ELSE (SELECT pg_catalog.concat(i.type, ' ', i.identity)
                     FROM pg_catalog.pg_identify_object(d.refclassid, d.refobjid, 0) AS i)
           END
           FROM needed d
           WHERE d.policy = p.oid
             AND NOT (d.is_own AND d.refobjsubid <> 0)
             AND d.refclassid <> 'pg_catalog.pg_proc'::pg_catalog.regclass
             AND NOT EXISTS (
                 SELECT FROM pg_catalog.pg_depend e
                 WHERE e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e'
             )
             -- The row type of a table is called as the table.
             AND NOT EXISTS (
                 SELECT FROM pg_catalog.pg_type t
                 LEFT JOIN pg_catalog.pg_type element ON element.oid = t.typelem AND t.typlen = -1
                 WHERE d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = d.refobjid
                   AND t.typtype <> 'c' AND (element.typtype IS NULL OR element.typtype <> 'c')
             )
       ) AS others
FROM policy p
