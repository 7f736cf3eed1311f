-- Indexes, element by element. Key elements come before INCLUDE columns; PG 10 has no INCLUDE.
SELECT i.indrelid::int8 AS table_oid,
       ic.relname AS name,
       am.amname AS method,
       pg_catalog.pg_get_indexdef(i.indexrelid) AS definition,
       i.indisprimary AS is_primary,
       i.indisunique AS is_unique,
       i.indnullsnotdistinct AS nulls_not_distinct, -- 15+
       false AS nulls_not_distinct, -- <15
       i.indimmediate AS immediate,
       i.indisvalid AND i.indisready AS valid,
       i.indisclustered AS clustered,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate,
       COALESCE(ic.reloptions, '{}') AS reloptions,
       k.conname AS "constraint",
       comment.description AS comment,
       ARRAY(
           SELECT pg_catalog.json_build_object(
                      'column', a.attname,
                      'expression', CASE WHEN a.attnum IS NULL THEN pg_catalog.pg_get_indexdef(i.indexrelid, nth, false) END,
                      'collation', CASE WHEN coll.oid IS NOT NULL
                           AND CASE
                               WHEN a.attnum IS NOT NULL THEN coll.oid <> a.attcollation
                               -- The collation of an expression is not stored. Naming it is always right, and
                               -- needed only if some part of the expression has another one than the type.
                               ELSE coll.oid <> et.typcollation
                                    OR i.indexprs::text ~* ':\w*coll\w* (?!(0|100)\M)\d+'
                           END
                           THEN pg_catalog.json_build_array(coll_n.nspname, coll.collname) END,
                      'opclass', CASE WHEN NOT opc.opcdefault
                           OR ia.attoptions IS NOT NULL -- 13+
                           OR opc.opcintype <> ia.atttypid AND EXISTS (
                               SELECT FROM pg_catalog.pg_opclass own
                               WHERE own.opcmethod = opc.opcmethod AND own.opcdefault AND own.opcintype = ia.atttypid
                           )
                           THEN pg_catalog.json_build_array(opc_n.nspname, opc.opcname) END,
                      'opclass_options', COALESCE(ia.attoptions, '{}'), -- 13+
                      'descending', i.indoption[nth - 1] & 1 = 1,
                      'nulls_first', i.indoption[nth - 1] & 2 = 2
                  )
           FROM pg_catalog.generate_series(1, i.indnkeyatts) AS nth -- 11+
           FROM pg_catalog.generate_series(1, i.indnatts) AS nth -- <11
           JOIN pg_catalog.pg_attribute ia ON ia.attrelid = i.indexrelid AND ia.attnum = nth
           JOIN pg_catalog.pg_opclass opc ON opc.oid = i.indclass[nth - 1]
           JOIN pg_catalog.pg_namespace opc_n ON opc_n.oid = opc.opcnamespace
           LEFT JOIN pg_catalog.pg_type et ON et.oid = ia.atttypid
           LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[nth - 1]
               AND i.indkey[nth - 1] <> 0
           LEFT JOIN pg_catalog.pg_collation coll ON coll.oid = i.indcollation[nth - 1]
           LEFT JOIN pg_catalog.pg_namespace coll_n ON coll_n.oid = coll.collnamespace
           ORDER BY nth
       ) AS elements,
       ARRAY(
           SELECT a.attname::text
           FROM pg_catalog.generate_series(i.indnkeyatts + 1, i.indnatts) AS nth -- 11+
           FROM pg_catalog.generate_series(1, 0) AS nth -- <11
           JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[nth - 1]
           ORDER BY nth
       ) AS include,
       -- pg_depend does not tell a key column from one that an expression reads; the stored tree does.
       CASE WHEN i.indexprs IS NULL AND i.indpred IS NULL THEN '{}' ELSE ARRAY(
           SELECT a.attname::text
           FROM pg_catalog.pg_attribute a
           CROSS JOIN (
               SELECT ARRAY(
                   SELECT found[1]::int4
                   FROM pg_catalog.regexp_matches(
                       pg_catalog.concat(i.indexprs, ' ', i.indpred), ':varattno (-?\d+)', 'g'
                   ) AS found
               ) AS attnums
           ) AS seen
           WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped
             -- 0 is the whole row.
             AND (a.attnum = ANY (seen.attnums) OR 0 = ANY (seen.attnums))
           ORDER BY a.attnum
       ) END AS expression_columns
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
JOIN pg_catalog.pg_am am ON am.oid = ic.relam
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
LEFT JOIN pg_catalog.pg_description comment
    ON comment.objoid = i.indexrelid AND comment.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND comment.objsubid = 0
WHERE c.relkind IN ('r', 'p', 'm')
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
  AND ($1::oid[] IS NULL OR c.oid = ANY ($1::oid[]))
