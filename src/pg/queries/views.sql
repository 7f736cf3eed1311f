-- What views show, and the columns of which relations they read.
SELECT n.nspname AS schema,
       c.relname AS name,
       pg_catalog.pg_get_viewdef(c.oid) AS definition,
       NOT c.relispopulated AS unpopulated,
       ARRAY(
           SELECT pg_catalog.json_build_array(rn.nspname, rc.relname, a.attname)
           FROM pg_catalog.pg_rewrite r
           JOIN pg_catalog.pg_depend d
               ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
               AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'n'
           JOIN pg_catalog.pg_class rc ON rc.oid = d.refobjid
           JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace
           LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attnum > 0
           WHERE r.ev_class = c.oid AND r.rulename = '_RETURN' AND d.refobjid <> c.oid
       ) AS reads
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm')
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
