-- Columns in physical order.
WITH identity_sequence AS (
    SELECT d.refobjid AS table_oid, d.refobjsubid AS attnum,
           pg_catalog.json_build_array(n.nspname, s.relname) AS name
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.deptype = 'i'
)
SELECT a.attrelid::int8 AS table_oid,
       a.attname AS name,
       tn.nspname AS type_schema,
       t.typname AS type_name,
       a.atttypmod AS typmod,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS sql,
       a.attlen AS len,
       a.attalign AS align,
       CASE WHEN element.oid IS NOT NULL THEN 'a' ELSE t.typtype END AS kind,
       a.attnotnull
           AND NOT EXISTS ( -- 18+
               SELECT FROM pg_catalog.pg_constraint k -- 18+
               WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey[1] = a.attnum AND NOT k.convalidated -- 18+
           ) -- 18+
       AS not_null,
       a.attidentity AS identity,
       a.attgenerated AS generated, -- 12+
       '' AS generated, -- <12
       pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS expression,
       COALESCE(
           own.name,
           -- A partition's identity column draws from the sequence of the partitioned table.
           CASE WHEN a.attidentity <> '' AND c.relispartition THEN ( -- 17+
               SELECT s.name -- 17+
               FROM pg_catalog.pg_attribute ra -- 17+
               JOIN identity_sequence s ON s.table_oid = ra.attrelid AND s.attnum = ra.attnum -- 17+
               WHERE ra.attrelid = pg_catalog.pg_partition_root(a.attrelid) AND ra.attname = a.attname -- 17+
           ) END, -- 17+
           NULL
       ) AS identity_sequence,
       CASE WHEN a.attcollation <> t.typcollation THEN pg_catalog.json_build_array(coll_n.nspname, coll.collname) END AS collation,
       CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END AS storage,
       NULLIF(a.attcompression, '') AS compression, -- 14+
       NULL AS compression, -- <14
       -- Absent or -1 is the server's own.
       CASE WHEN a.attstattarget >= 0 THEN a.attstattarget::int4 END AS statistics_target,
       COALESCE(a.attoptions, '{}') AS options,
       comment.description AS comment,
       COALESCE(a.attacl::text[], '{}') AS grants
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_type element ON element.oid = t.typelem AND element.typarray = t.oid
LEFT JOIN pg_catalog.pg_attrdef def ON def.adrelid = a.attrelid AND def.adnum = a.attnum
LEFT JOIN identity_sequence own ON own.table_oid = a.attrelid AND own.attnum = a.attnum
LEFT JOIN pg_catalog.pg_collation coll ON coll.oid = a.attcollation
LEFT JOIN pg_catalog.pg_namespace coll_n ON coll_n.oid = coll.collnamespace
LEFT JOIN pg_catalog.pg_description comment
    ON comment.objoid = a.attrelid AND comment.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND comment.objsubid = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped
  AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
  AND ($1::oid[] IS NULL OR c.oid = ANY ($1::oid[]))
ORDER BY a.attrelid, a.attnum
