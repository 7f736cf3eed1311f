-- Objects of users that no table, column or view is: routines, operators, what text search has, and what the database has as a whole.
SELECT found.kind AS kind, n.nspname AS schema, found.name AS name
FROM (
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass AS classid, p.oid AS oid, p.pronamespace AS namespace,
           CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' WHEN 'w' THEN 'window function' ELSE 'function' END AS kind, -- 11+
           CASE WHEN p.proisagg THEN 'aggregate' WHEN p.proiswindow THEN 'window function' ELSE 'function' END AS kind, -- <11
           p.oid::pg_catalog.regprocedure::text AS name
    FROM pg_catalog.pg_proc p
    UNION ALL
    SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid, o.oprnamespace, 'operator', o.oid::pg_catalog.regoperator::text
    FROM pg_catalog.pg_operator o
    UNION ALL
    SELECT 'pg_catalog.pg_opclass'::pg_catalog.regclass, o.oid, o.opcnamespace, 'operator class',
           pg_catalog.format('%I.%I', on_.nspname, o.opcname)
    FROM pg_catalog.pg_opclass o
    JOIN pg_catalog.pg_namespace on_ ON on_.oid = o.opcnamespace
    UNION ALL
    SELECT 'pg_catalog.pg_collation'::pg_catalog.regclass, o.oid, o.collnamespace, 'collation',
           pg_catalog.format('%I.%I', cn.nspname, o.collname)
    FROM pg_catalog.pg_collation o
    JOIN pg_catalog.pg_namespace cn ON cn.oid = o.collnamespace
    UNION ALL
    SELECT 'pg_catalog.pg_conversion'::pg_catalog.regclass, o.oid, o.connamespace, 'conversion',
           pg_catalog.format('%I.%I', vn.nspname, o.conname)
    FROM pg_catalog.pg_conversion o
    JOIN pg_catalog.pg_namespace vn ON vn.oid = o.connamespace
    UNION ALL
    SELECT 'pg_catalog.pg_ts_config'::pg_catalog.regclass, o.oid, o.cfgnamespace, 'text search configuration',
           o.oid::pg_catalog.regconfig::text
    FROM pg_catalog.pg_ts_config o
    UNION ALL
    SELECT 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, o.oid, o.dictnamespace, 'text search dictionary',
           o.oid::pg_catalog.regdictionary::text
    FROM pg_catalog.pg_ts_dict o
    UNION ALL
    SELECT 'pg_catalog.pg_event_trigger'::pg_catalog.regclass, e.oid, NULL, 'event trigger', pg_catalog.quote_ident(e.evtname)
    FROM pg_catalog.pg_event_trigger e
    UNION ALL
    SELECT 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, s.oid, NULL, 'foreign server', pg_catalog.quote_ident(s.srvname)
    FROM pg_catalog.pg_foreign_server s
    UNION ALL
    SELECT 'pg_catalog.pg_cast'::pg_catalog.regclass, c.oid, NULL, 'cast',
           pg_catalog.format('%s to %s', pg_catalog.format_type(c.castsource, NULL), pg_catalog.format_type(c.casttarget, NULL))
    FROM pg_catalog.pg_cast c
    UNION ALL
    SELECT 'pg_catalog.pg_largeobject'::pg_catalog.regclass, 16384, NULL, 'large objects', 'all of the database'
    WHERE EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)
) AS found
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = found.namespace
-- Smaller ones are the server's own.
WHERE found.oid >= 16384
  AND (found.namespace IS NULL OR n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd'))
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_depend d WHERE d.classid = found.classid AND d.objid = found.oid AND d.deptype IN ('e', 'i')
  )
