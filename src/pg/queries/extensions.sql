-- Installed extensions and what belongs to them. A table's row type is the table.
SELECT e.extname AS name,
       e.extversion AS version,
       n.nspname AS schema,
       ARRAY(
           SELECT pg_catalog.json_build_array(cn.nspname, c.relname)
           FROM pg_catalog.pg_depend d
           JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
           JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
           WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
             AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid AND d.deptype = 'e'
           UNION ALL
           SELECT pg_catalog.json_build_array(tn.nspname, t.typname)
           FROM pg_catalog.pg_depend d
           JOIN pg_catalog.pg_type t ON t.oid = d.objid
           JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
           WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
             AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid AND d.deptype = 'e'
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_type a WHERE a.typarray = t.oid)
       ) AS members
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
