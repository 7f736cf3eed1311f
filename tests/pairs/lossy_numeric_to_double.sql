-- kinds: lossy, not_null, rename. Exact numbers become floats.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, n numeric);
INSERT INTO t VALUES (1, 0.1), (2, 123456789012345678901234567890), (3, 'NaN'), (4, -1e-300);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  -- pcrd: accept LOSSY_CAST reason="measured values"
  -- pcrd: renamed_from n
  value double precision NOT NULL
);
-- [by hand]
ALTER TABLE t RENAME n TO value;
ALTER TABLE t ALTER value TYPE double precision;
