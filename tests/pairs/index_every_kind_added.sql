-- kinds: index. Expression, partial, INCLUDE, DESC, operator class, and every access method.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b int, r int4range, j jsonb, p point, w tsvector);
INSERT INTO t SELECT n, 'a' || n, n, int4range(n, n + 3), jsonb_build_object('n', n), point(n, -n), to_tsvector('simple', 'word' || n) FROM generate_series(1, 30) AS n;
INSERT INTO t (id) VALUES (31);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a text, b int, r int4range, j jsonb, p point, w tsvector);
CREATE INDEX i_expr ON t (lower(a), (b + 1));
CREATE INDEX i_part ON t (b) WHERE a IS NOT NULL AND b > 3;
CREATE INDEX i_incl ON t (b) INCLUDE (a, id);
CREATE INDEX i_desc ON t (b DESC, a ASC NULLS FIRST);
CREATE INDEX i_opcl ON t (a text_pattern_ops);
CREATE INDEX i_gin ON t USING gin (j);
CREATE INDEX i_ginw ON t USING gin (w) WITH (fastupdate = off);
CREATE INDEX i_gist ON t USING gist (r, p);
CREATE INDEX i_spg ON t USING spgist (p);
CREATE INDEX i_brin ON t USING brin (b) WITH (pages_per_range = 4);
CREATE INDEX i_hash ON t USING hash (a);
CREATE INDEX i_coll ON t (a COLLATE "C" DESC NULLS LAST) WITH (fillfactor = 70);
CREATE UNIQUE INDEX i_uniq ON t (b, (a || ''));
-- [by hand]
SELECT 1;
