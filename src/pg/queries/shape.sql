-- One line that says what a table looks like to a copy of its rows; $1 schema, $2 name. Runs before every chunk, so it
-- touches one table only; and on every major alike, so newer catalog columns are read through jsonb.
SELECT COALESCE((
    SELECT pg_catalog.concat(
        'kind=', c.relkind, c.relpersistence,
        ' rls=', c.relrowsecurity::int4, c.relforcerowsecurity::int4,
        ' columns=(', (
            SELECT pg_catalog.string_agg(pg_catalog.concat(
                pg_catalog.to_json(a.attname::text), ' ',
                pg_catalog.to_json(tn.nspname::text), '.', pg_catalog.to_json(t.typname::text), ' ', a.atttypmod,
                CASE WHEN a.attcollation <> t.typcollation THEN (
                    SELECT pg_catalog.concat(
                        ' collate ', pg_catalog.to_json(coll_n.nspname::text), '.', pg_catalog.to_json(coll.collname::text)
                    )
                    FROM pg_catalog.pg_collation coll
                    JOIN pg_catalog.pg_namespace coll_n ON coll_n.oid = coll.collnamespace
                    WHERE coll.oid = a.attcollation
                ) END,
                CASE WHEN a.attnotnull AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_constraint k
                    WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey[1] = a.attnum AND NOT k.convalidated
                ) THEN ' not null' END,
                CASE pg_catalog.to_jsonb(a) ->> 'attgenerated' WHEN 's' THEN ' stored' WHEN 'v' THEN ' virtual' END
            ), ', ' ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute a
            JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
            JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ),
        ') identity=', COALESCE((
            SELECT pg_catalog.concat('i(', (
                SELECT pg_catalog.string_agg(pg_catalog.to_json(a.attname::text)::text, ', ' ORDER BY nth)
                FROM pg_catalog.generate_series(
                    1, COALESCE((pg_catalog.to_jsonb(i) ->> 'indnkeyatts')::int4, i.indnatts)
                ) AS nth
                JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[nth - 1]
            ), ')')
            FROM pg_catalog.pg_index i
            WHERE i.indrelid = c.oid AND i.indisreplident AND c.relreplident = 'i'
        -- The code outlives a dropped index; the server then logs no old keys.
        ), CASE c.relreplident WHEN 'i' THEN 'n' ELSE c.relreplident::text END),
        ' key=', (
            SELECT pg_catalog.concat('(', (
                SELECT pg_catalog.string_agg(pg_catalog.to_json(a.attname::text)::text, ', ' ORDER BY nth)
                FROM pg_catalog.generate_series(
                    1, COALESCE((pg_catalog.to_jsonb(i) ->> 'indnkeyatts')::int4, i.indnatts)
                ) AS nth
                JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[nth - 1]
            ), ')', CASE WHEN NOT i.indimmediate THEN ' deferrable' END)
            FROM pg_catalog.pg_index i
            WHERE i.indrelid = c.oid AND i.indisprimary
        ),
        ' parents=', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid),
        -- Partitions come and go.
        ' children=', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid AND c.relkind <> 'p')
    )
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1::text::name AND c.relname = $2::text::name AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
), 'missing')
