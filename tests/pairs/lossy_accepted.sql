-- kinds: lossy. A cast that rounds, accepted with a reason.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, f double precision, g json);
INSERT INTO t VALUES (1, 0.1, '{"a":1,"a":2}'), (2, 'Infinity', '[1.0, 1.00]'), (3, NULL, NULL), (4, 16777217, '"\u00e9"'), (5, 'NaN', 'null');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  -- pcrd: accept LOSSY_CAST reason="sensor noise"
  f real,
  -- pcrd: accept LOSSY_CAST reason="nobody reads \"duplicate\" keys"
  g jsonb
);
-- [by hand]
ALTER TABLE t ALTER f TYPE real, ALTER g TYPE jsonb;
