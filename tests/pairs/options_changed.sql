-- kinds: options, index, comment. Storage parameters of the table and its indexes.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b int CONSTRAINT bu UNIQUE WITH (fillfactor = 55)) WITH (fillfactor = 90, autovacuum_enabled = false);
CREATE INDEX i ON t (a) WITH (fillfactor = 50);
INSERT INTO t SELECT n, 'a' || n, n FROM generate_series(1, 10) AS n;
-- [desired]
CREATE TABLE t (id int PRIMARY KEY WITH (fillfactor = 80), a text, b int CONSTRAINT bu UNIQUE WITH (fillfactor = 45) DEFERRABLE) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_enabled = false);
CREATE INDEX i ON t (a) WITH (deduplicate_items = off, fillfactor = 60);
COMMENT ON TABLE t IS 'hot';
-- [by hand]
SELECT 1;
