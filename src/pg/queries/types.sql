-- Types of users. With $1 (table oids): only those that the tables' columns use, directly or through other types.
WITH RECURSIVE used(oid) AS (
    SELECT a.atttypid
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT part.oid
    FROM used
    JOIN pg_catalog.pg_type t ON t.oid = used.oid
    CROSS JOIN LATERAL (
        SELECT t.typelem
        UNION ALL
        SELECT t.typbasetype
        UNION ALL
        SELECT a.atttypid
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT r.rngsubtype
        FROM pg_catalog.pg_range r
        WHERE r.rngtypid = t.oid
        UNION ALL -- 14+
        SELECT r.rngtypid -- 14+
        FROM pg_catalog.pg_range r -- 14+
        WHERE r.rngmultitypid = t.oid -- 14+
    ) AS part(oid)
    WHERE part.oid <> 0
)
SELECT n.nspname AS schema,
       t.typname AS name,
       t.typtype AS kind,
       ARRAY(
           SELECT e.enumlabel::text
           FROM pg_catalog.pg_enum e
           WHERE e.enumtypid = t.oid
           ORDER BY e.enumsortorder
       ) AS labels,
       CASE WHEN t.typtype = 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) END AS base,
       t.typnotnull AS not_null,
       ARRAY(
           SELECT pg_catalog.json_build_array(k.conname, pg_catalog.pg_get_constraintdef(k.oid))
           FROM pg_catalog.pg_constraint k
           WHERE k.contypid = t.oid AND k.contype = 'c'
       ) AS checks,
       CASE WHEN t.typtype = 'd' THEN pg_catalog.pg_get_expr(t.typdefaultbin, 0) END AS "default",
       CASE WHEN t.typtype = 'd' THEN (
           SELECT pg_catalog.json_build_array(coll_n.nspname, coll.collname)
           FROM pg_catalog.pg_type base, pg_catalog.pg_collation coll
           JOIN pg_catalog.pg_namespace coll_n ON coll_n.oid = coll.collnamespace
           WHERE base.oid = t.typbasetype AND coll.oid = t.typcollation AND t.typcollation <> base.typcollation
       ) END AS collation,
       ARRAY(
           SELECT pg_catalog.json_build_object('name', a.attname, 'ty', pg_catalog.format_type(a.atttypid, a.atttypmod), 'collation', (
               SELECT pg_catalog.json_build_array(coll_n.nspname, coll.collname)
               FROM pg_catalog.pg_type own, pg_catalog.pg_collation coll
               JOIN pg_catalog.pg_namespace coll_n ON coll_n.oid = coll.collnamespace
               WHERE own.oid = a.atttypid AND coll.oid = a.attcollation AND a.attcollation <> own.typcollation
           ))
           FROM pg_catalog.pg_attribute a
           WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
           ORDER BY a.attnum
       ) AS attributes,
       (
           SELECT pg_catalog.json_build_object(
               'subtype', pg_catalog.format_type(r.rngsubtype, NULL),
               'opclass', (
                   SELECT pg_catalog.json_build_array(opc_n.nspname, opc.opcname)
                   FROM pg_catalog.pg_opclass opc
                   JOIN pg_catalog.pg_namespace opc_n ON opc_n.oid = opc.opcnamespace
                   WHERE opc.oid = r.rngsubopc AND NOT opc.opcdefault
               ),
               'collation', (
                   SELECT pg_catalog.json_build_array(coll_n.nspname, coll.collname)
                   FROM pg_catalog.pg_type own, pg_catalog.pg_collation coll
                   JOIN pg_catalog.pg_namespace coll_n ON coll_n.oid = coll.collnamespace
                   WHERE own.oid = r.rngsubtype AND coll.oid = r.rngcollation AND r.rngcollation <> own.typcollation
               ),
               'canonical', (
                   SELECT pg_catalog.json_build_array(f_n.nspname, f.proname)
                   FROM pg_catalog.pg_proc f
                   JOIN pg_catalog.pg_namespace f_n ON f_n.oid = f.pronamespace
                   WHERE f.oid = r.rngcanonical
               ),
               'multirange', ( -- 14+
                   SELECT pg_catalog.json_build_array(m_n.nspname, m.typname) -- 14+
                   FROM pg_catalog.pg_type m -- 14+
                   JOIN pg_catalog.pg_namespace m_n ON m_n.oid = m.typnamespace -- 14+
                   WHERE m.oid = r.rngmultitypid -- 14+
               ), -- 14+
               'subtype_diff', (
                   SELECT pg_catalog.json_build_array(f_n.nspname, f.proname)
                   FROM pg_catalog.pg_proc f
                   JOIN pg_catalog.pg_namespace f_n ON f_n.oid = f.pronamespace
                   WHERE f.oid = r.rngsubdiff
               )
           )
           FROM pg_catalog.pg_range r
           WHERE r.rngtypid = t.oid
       ) AS range
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_class row_of ON row_of.oid = t.typrelid
LEFT JOIN pg_catalog.pg_type element ON element.oid = t.typelem AND element.typarray = t.oid
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
  AND t.typtype IN ('b', 'c', 'd', 'e', 'r')
  AND t.typisdefined
  AND (row_of.oid IS NULL OR row_of.relkind = 'c')
  AND element.oid IS NULL
  AND ($1::oid[] IS NULL OR t.oid IN (SELECT used.oid FROM used))
