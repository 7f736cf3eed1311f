-- Constraints of tables. NOT NULL (contype n since PG 18) belongs to the column.
SELECT k.conrelid::int8 AS table_oid,
       k.conname AS name,
       k.contype AS kind,
       pg_catalog.pg_get_constraintdef(k.oid) AS definition,
       ARRAY(
           SELECT a.attname::text
           FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS key(attnum, nth)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = key.attnum
           ORDER BY key.nth
       ) AS columns,
       CASE WHEN k.contype = 'f' THEN pg_catalog.json_build_array(fn.nspname, fc.relname) END AS "references",
       ARRAY(
           SELECT a.attname::text
           FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS key(attnum, nth)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = key.attnum
           ORDER BY key.nth
       ) AS referenced_columns,
       CASE WHEN k.contype = 'f' THEN pg_catalog.concat_ws(
           ' ',
           CASE k.confmatchtype WHEN 'f' THEN 'MATCH FULL' WHEN 'p' THEN 'MATCH PARTIAL' END,
           CASE k.confupdtype WHEN 'r' THEN 'ON UPDATE RESTRICT' WHEN 'c' THEN 'ON UPDATE CASCADE'
               WHEN 'n' THEN 'ON UPDATE SET NULL' WHEN 'd' THEN 'ON UPDATE SET DEFAULT' END,
           CASE k.confdeltype WHEN 'r' THEN 'ON DELETE RESTRICT' WHEN 'c' THEN 'ON DELETE CASCADE'
               WHEN 'n' THEN 'ON DELETE SET NULL' WHEN 'd' THEN 'ON DELETE SET DEFAULT' END,
           ( -- 15+
               SELECT '(' || pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY key.nth) || ')' -- 15+
               FROM pg_catalog.unnest(k.confdelsetcols) WITH ORDINALITY AS key(attnum, nth) -- 15+
               JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = key.attnum -- 15+
           ), -- 15+
           NULL
       ) END AS actions,
       CASE WHEN k.contype = 'c' THEN pg_catalog.pg_get_expr(k.conbin, k.conrelid) END AS expression,
       CASE WHEN k.contype IN ('p', 'u', 'x') THEN ic.relname END AS index,
       k.condeferrable AS deferrable,
       k.condeferred AS initially_deferred,
       k.convalidated AS validated,
       k.contype = 'c' AND k.connoinherit AS no_inherit,
       comment.description AS comment
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class ic ON ic.oid = k.conindid
LEFT JOIN pg_catalog.pg_class fc ON fc.oid = k.confrelid
LEFT JOIN pg_catalog.pg_namespace fn ON fn.oid = fc.relnamespace
LEFT JOIN pg_catalog.pg_description comment
    ON comment.objoid = k.oid AND comment.classoid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND comment.objsubid = 0
WHERE k.contype IN ('p', 'u', 'f', 'c', 'x', 't')
  AND c.relkind IN ('r', 'p', 'f')
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
  AND ($1::oid[] IS NULL OR c.oid = ANY ($1::oid[]))
  -- A key to a partitioned table has one more entry for each partition; they are part of the first one.
  AND NOT EXISTS ( -- 12+
      SELECT FROM pg_catalog.pg_constraint p WHERE p.oid = k.conparentid AND p.conrelid = k.conrelid -- 12+
  ) -- 12+
