-- Sequences with every option. With $1 (table oids): only those that the tables own or use in a default.
WITH owned AS (
    SELECT d.objid AS sequence_oid, d.refobjid AS table_oid, d.deptype,
           pg_catalog.json_build_object('schema', n.nspname, 'table', c.relname, 'column', a.attname) AS by
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_class c ON c.oid = d.refobjid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
), used AS (
    SELECT d.refobjid AS sequence_oid, def.adrelid AS table_oid,
           pg_catalog.json_build_object('schema', n.nspname, 'table', c.relname, 'column', a.attname) AS by
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_attrdef def ON def.oid = d.objid
    JOIN pg_catalog.pg_class c ON c.oid = def.adrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = def.adrelid AND a.attnum = def.adnum
    WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
)
SELECT n.nspname AS schema,
       c.relname AS name,
       pg_catalog.format_type(s.seqtypid, NULL) AS ty,
       s.seqstart AS start,
       s.seqincrement AS increment,
       s.seqmin AS min,
       s.seqmax AS max,
       s.seqcache AS cache,
       s.seqcycle AS cycle,
       owned.by AS owned_by,
       COALESCE(users.by, '{}') AS used_by,
       COALESCE(owned.deptype = 'i', false) AS identity,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       COALESCE(c.relacl::text[], '{}') AS grants,
       comment.description AS comment
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN owned ON owned.sequence_oid = c.oid
LEFT JOIN (SELECT used.sequence_oid, pg_catalog.array_agg(used.by) AS by FROM used GROUP BY used.sequence_oid) AS users
    ON users.sequence_oid = c.oid
LEFT JOIN pg_catalog.pg_description comment
    ON comment.objoid = c.oid AND comment.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND comment.objsubid = 0
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
  AND (
      $1::oid[] IS NULL
      OR owned.table_oid = ANY ($1::oid[])
      OR c.oid IN (SELECT used.sequence_oid FROM used WHERE used.table_oid = ANY ($1::oid[]))
  )
