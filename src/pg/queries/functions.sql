-- Functions that an expression over one row can call.
SELECT pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)) AS signature
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE p.prokind = 'f' -- 11+
WHERE NOT p.proisagg AND NOT p.proiswindow -- <11
  AND p.prorettype NOT IN (
      'pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype,
      'pg_catalog.internal'::pg_catalog.regtype
  )
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd')
