-- kinds: index, names, rename. Indexes over expressions without a name get the one that PostgreSQL makes.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b int);
CREATE INDEX odd_name ON t (upper(a));
INSERT INTO t SELECT n, 'A' || n, n FROM generate_series(1, 10) AS n;
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  aa text, -- pcrd: renamed_from a
  b int
);
CREATE INDEX ON t (upper(aa));
CREATE INDEX ON t (lower(aa), b, (b + 1), lower(aa || 'x'));
CREATE INDEX ON t ((b::text));
CREATE INDEX ON t ((b + 1), (coalesce(aa, '')) text_pattern_ops DESC, ((b * 2)::bigint));
-- [direct]
CREATE TABLE t (id int PRIMARY KEY, aa text, b int);
CREATE INDEX odd_name ON t (upper(aa));
CREATE INDEX ON t (lower(aa), b, (b + 1), lower(aa || 'x'));
CREATE INDEX ON t ((b::text));
CREATE INDEX ON t ((b + 1), (coalesce(aa, '')) text_pattern_ops DESC, ((b * 2)::bigint));
-- [by hand]
ALTER TABLE t RENAME a TO aa;
