-- Statistics objects. The order of the parts is the server's: columns by their place, then expressions.
SELECT s.stxrelid::int8 AS table_oid,
       sn.nspname AS schema,
       s.stxname AS name,
       s.stxkind AS kinds,
       ARRAY(
           SELECT a.attname::text
           FROM pg_catalog.unnest(s.stxkeys::int2[]) WITH ORDINALITY AS key(attnum, nth)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = s.stxrelid AND a.attnum = key.attnum
           ORDER BY key.nth
       ) AS columns,
       COALESCE(pg_catalog.pg_get_statisticsobjdef_expressions(s.oid), '{}') AS expressions, -- 14+
       '{}'::text[] AS expressions, -- <14
       ARRAY( -- 14+
           SELECT a.attname::text -- 14+
           FROM pg_catalog.pg_attribute a -- 14+
           CROSS JOIN ( -- 14+
               SELECT ARRAY( -- 14+
                   SELECT found[1]::int4 -- 14+
                   FROM pg_catalog.regexp_matches(s.stxexprs::text, ':varattno (-?\d+)', 'g') AS found -- 14+
               ) AS attnums -- 14+
           ) AS seen -- 14+
           WHERE a.attrelid = s.stxrelid AND a.attnum > 0 AND NOT a.attisdropped -- 14+
             -- 0 is the whole row.
             AND (a.attnum = ANY (seen.attnums) OR 0 = ANY (seen.attnums)) -- 14+
           ORDER BY a.attnum -- 14+
       ) AS expression_columns, -- 14+
       '{}'::text[] AS expression_columns, -- <14
       -- Absent or -1 is the columns'.
       CASE WHEN s.stxstattarget >= 0 THEN s.stxstattarget::int4 END AS target, -- 13+
       NULL AS target, -- <13
       pg_catalog.pg_get_userbyid(s.stxowner) AS owner,
       comment.description AS comment
FROM pg_catalog.pg_statistic_ext s
JOIN pg_catalog.pg_namespace sn ON sn.oid = s.stxnamespace
JOIN pg_catalog.pg_class c ON c.oid = s.stxrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_description comment
    ON comment.objoid = s.oid AND comment.classoid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass
    AND comment.objsubid = 0
WHERE c.relkind IN ('r', 'p', 'f', 'm')
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
  AND ($1::oid[] IS NULL OR c.oid = ANY ($1::oid[]))
