-- Tables of every kind, each with its place in inheritance and partitioning, its rights and its size.
SELECT c.oid::int8 AS oid,
       n.nspname AS schema,
       c.relname AS name,
       c.relkind AS kind,
       c.relpersistence AS persistence,
       c.relreplident AS replica_identity,
       (
           SELECT ic.relname
           FROM pg_catalog.pg_index i
           JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
           WHERE i.indrelid = c.oid AND i.indisreplident
       ) AS replica_identity_index,
       c.relrowsecurity AS row_security,
       c.relforcerowsecurity AS row_security_forced,
       COALESCE(c.reloptions, '{}')
           || ARRAY(SELECT 'toast.' || option FROM pg_catalog.unnest(toast.reloptions) AS option) AS reloptions,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       COALESCE(c.relacl::text[], '{}') AS grants,
       comment.description AS comment,
       ARRAY(
           SELECT pg_catalog.json_build_array(pn.nspname, p.relname)
           FROM pg_catalog.pg_inherits h
           JOIN pg_catalog.pg_class p ON p.oid = h.inhparent
           JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
           WHERE h.inhrelid = c.oid
           ORDER BY h.inhseqno
       ) AS parents,
       ARRAY(
           SELECT pg_catalog.json_build_array(hn.nspname, hc.relname)
           FROM pg_catalog.pg_inherits h
           JOIN pg_catalog.pg_class hc ON hc.oid = h.inhrelid
           JOIN pg_catalog.pg_namespace hn ON hn.oid = hc.relnamespace
           WHERE h.inhparent = c.oid
       ) AS children,
       CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END AS partition_key,
       pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS partition_bound,
       EXISTS (SELECT FROM pg_catalog.pg_subscription_rel s WHERE s.srrelid = c.oid) AS subscribed,
       CASE WHEN c.relkind IN ('r', 'm', 'p') THEN pg_catalog.pg_table_size(c.oid) END AS table_bytes,
       CASE WHEN c.relkind IN ('r', 'm', 'p') THEN pg_catalog.pg_indexes_size(c.oid) END AS index_bytes,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::int8 END AS rows_estimate -- 14+
       CASE WHEN c.reltuples > 0 OR c.relpages > 0 THEN c.reltuples::int8 END AS rows_estimate -- <14
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class toast ON toast.oid = c.reltoastrelid
LEFT JOIN pg_catalog.pg_description comment
    ON comment.objoid = c.oid AND comment.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND comment.objsubid = 0
WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
  AND ($1::oid[] IS NULL OR c.oid = ANY ($1::oid[]))
