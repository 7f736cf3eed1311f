-- What hangs on the tables and is not carried. A table's row type counts as the table.
WITH wanted AS (
    SELECT c.oid, c.reltype, c.relnamespace, c.relkind, n.nspname AS schema, c.relname AS name
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
      AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
      AND ($1::oid[] IS NULL OR c.oid = ANY ($1::oid[]))
), depending AS (
    SELECT d.classid, d.objid, w.oid
    FROM pg_catalog.pg_depend d
    JOIN wanted w ON w.oid = d.refobjid
    WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('n', 'a')
    UNION
    SELECT d.classid, d.objid, w.oid
    FROM pg_catalog.pg_depend d
    JOIN wanted w ON w.reltype = d.refobjid
    WHERE d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.deptype IN ('n', 'a')
), found(kind, name, oid) AS (
    SELECT CASE WHEN r.rulename <> '_RETURN' THEN 'rule' WHEN v.relkind = 'm' THEN 'materialized view' ELSE 'view' END,
           CASE WHEN r.rulename <> '_RETURN' THEN pg_catalog.format('%I on %I.%I', r.rulename, vn.nspname, v.relname)
                ELSE pg_catalog.format('%I.%I', vn.nspname, v.relname) END,
           d.oid
    FROM depending d
    JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
    JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
    JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace
    WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
      AND NOT (r.rulename = '_RETURN' AND r.ev_class = d.oid)
    UNION
    SELECT 'rule', pg_catalog.format('%I on %I.%I', r.rulename, w.schema, w.name), w.oid
    FROM pg_catalog.pg_rewrite r
    JOIN wanted w ON w.oid = r.ev_class
    WHERE r.rulename <> '_RETURN'
    UNION
    SELECT 'policy', pg_catalog.format('%I on %I.%I', p.polname, pn.nspname, pc.relname), w.oid
    FROM pg_catalog.pg_policy p
    JOIN pg_catalog.pg_class pc ON pc.oid = p.polrelid
    JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace
    JOIN (
        SELECT d.objid, d.oid FROM depending d WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
    ) AS on_table(objid, oid) ON on_table.objid = p.oid AND on_table.oid <> p.polrelid
    JOIN wanted w ON w.oid = on_table.oid
    UNION
    SELECT 'comment', pg_catalog.format('trigger %I on %I.%I', g.tgname, w.schema, w.name), w.oid
    FROM pg_catalog.pg_trigger g
    JOIN wanted w ON w.oid = g.tgrelid
    JOIN pg_catalog.pg_description c
        ON c.objoid = g.oid AND c.classoid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND c.objsubid = 0
    WHERE NOT g.tgisinternal
    UNION
    SELECT 'comment', pg_catalog.format('policy %I on %I.%I', p.polname, w.schema, w.name), w.oid
    FROM pg_catalog.pg_policy p
    JOIN wanted w ON w.oid = p.polrelid
    JOIN pg_catalog.pg_description c
        ON c.objoid = p.oid AND c.classoid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND c.objsubid = 0
    UNION
    SELECT 'function', d.objid::pg_catalog.regprocedure::text, d.oid
    FROM depending d
    WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    UNION
    SELECT 'column', pg_catalog.format('%I.%I.%I', cn.nspname, rc.relname, a.attname), row_of.table_oid
    FROM (
        SELECT w.reltype, w.oid FROM wanted w WHERE w.reltype <> 0
        UNION ALL
        SELECT t.typarray, w.oid FROM wanted w JOIN pg_catalog.pg_type t ON t.oid = w.reltype WHERE t.typarray <> 0
    ) AS row_of(type_oid, table_oid)
    JOIN pg_catalog.pg_attribute a ON a.atttypid = row_of.type_oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_catalog.pg_class rc ON rc.oid = a.attrelid
    JOIN pg_catalog.pg_namespace cn ON cn.oid = rc.relnamespace
    WHERE rc.relkind IN ('r', 'p', 'f', 'm', 'c')
    UNION
    SELECT 'tablespace', pg_catalog.format('%I of %I.%I', s.spcname, w.schema, c.relname), w.oid
    FROM wanted w
    LEFT JOIN pg_catalog.pg_index i ON i.indrelid = w.oid
    JOIN pg_catalog.pg_class c ON c.oid IN (w.oid, i.indexrelid)
    JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
    UNION -- 12+
    SELECT 'access method', pg_catalog.format('%I of %I.%I', m.amname, w.schema, w.name), w.oid -- 12+
    FROM wanted w -- 12+
    JOIN pg_catalog.pg_class c ON c.oid = w.oid -- 12+
    JOIN pg_catalog.pg_am m ON m.oid = c.relam -- 12+
    WHERE m.amname <> 'heap' -- 12+
    UNION
    SELECT 'statistics target', pg_catalog.format('column %s of index %I.%I', a.attnum, w.schema, ic.relname), w.oid
    FROM pg_catalog.pg_index i
    JOIN wanted w ON w.oid = i.indrelid
    JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indexrelid AND a.attstattarget >= 0
    UNION
    SELECT 'publication', pg_catalog.quote_ident(p.pubname), member.oid
    FROM pg_catalog.pg_publication p
    JOIN (
        SELECT r.prpubid, r.prrelid FROM pg_catalog.pg_publication_rel r
        UNION ALL -- 15+
        SELECT s.pnpubid, w.oid -- 15+
        FROM pg_catalog.pg_publication_namespace s -- 15+
        JOIN wanted w ON w.relnamespace = s.pnnspid AND w.relkind IN ('r', 'p') -- 15+
        UNION ALL
        SELECT a.oid, w.oid
        FROM pg_catalog.pg_publication a, wanted w
        WHERE a.puballtables AND w.relkind IN ('r', 'p')
    ) AS member(pub, oid) ON member.pub = p.oid
    JOIN wanted w ON w.oid = member.oid
    WHERE pg_catalog.left(p.pubname::text, 5) <> 'pcrd_'
    UNION
    -- Keys among the tables themselves are constraints of theirs.
    SELECT 'foreign key', pg_catalog.format('%I on %I.%I', k.conname, kn.nspname, kc.relname), w.oid
    FROM pg_catalog.pg_constraint k
    JOIN wanted w ON w.oid = k.confrelid
    JOIN pg_catalog.pg_class kc ON kc.oid = k.conrelid
    JOIN pg_catalog.pg_namespace kn ON kn.oid = kc.relnamespace
    WHERE k.contype = 'f' AND k.conrelid NOT IN (SELECT inside.oid FROM wanted inside)
    UNION -- 18+
    SELECT 'not-null constraint, not validated', pg_catalog.format('%I on %I.%I', k.conname, w.schema, w.name), w.oid -- 18+
    FROM pg_catalog.pg_constraint k -- 18+
    JOIN wanted w ON w.oid = k.conrelid -- 18+
    WHERE k.contype = 'n' AND NOT k.convalidated -- 18+
)
SELECT found.kind, found.name, found.oid::int8 AS table_oid
FROM found
